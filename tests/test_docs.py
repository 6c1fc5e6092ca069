"""The pages say what is true: links resolve, flags and files exist, commands parse, examples run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import DATASETS
from models import MODELS
from models.sagan.sample_options import SampleOptions
from options.base_options import DataOptions, ModelOptions
from options.evaluate_options import EvaluateOptions
from options.parse import parse_command, parse_test, parse_train
from options.records import TEST, TRAIN
from options.schema import specs
from scripts import evaluate, generate, match, morph
from tests.commands import command_records

REPO = Path(__file__).resolve().parents[1]
PAGES = sorted(
    file for file in (*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), REPO / "datasets/README.md") if file.is_file()
)
TUTORIALS = {"docs/add_a_model.md", "docs/add_a_dataset.md", "docs/add_a_metric.md", "docs/add_a_logger.md"}
"""Pages whose commands use what the page itself adds."""

PROGRAMS = ("train.py", "test.py", "scripts/evaluate.py")

OTHER_TOOLS = {
    *("help", "no-build-isolation", "logdir"),
    *("build-constraints", "index-url", "system-site-packages", "use-pep517", "wheel-dir"),  # pip, venv, uv
    *("gpus", "rm", "shm-size", "tag", "install"),  # docker, wsl
    *("nproc_per_node", "nnodes", "standalone", "max_restarts", "rdzv_id", "rdzv_backend", "rdzv_endpoint"),  # torchrun
    *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal", "requeue", "output"),
}
"""Flags of programs that are not ours."""


def page_id(page: Path) -> str:
    return page.relative_to(REPO).as_posix()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, content) of every fenced block."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        yield found[1], found[2]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def commands(text: str) -> list[list[str]]:
    """The words of every line of a bash block that calls one of ``PROGRAMS``, from the program on."""
    found = []
    for language, block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines() if language == "bash" else ():
            words = shlex.split(line, comments=True)
            at = [place for place, word in enumerate(words) if word in PROGRAMS]
            found += [words[at[0] :]] if at else []
    return found


def anchors(text: str) -> set[str]:
    """The link targets of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in REPO.glob("docs/*.md") if f"](docs/{page.name})" not in readme] == []


# --- files and flags --------------------------------------------------------------------------------------------------


def example_files(text: str) -> dict[str, str]:
    """Path -> content of the code blocks that begin with ``# path/to/file.py``."""
    found = {}
    for language, block in blocks(text):
        name = re.match(r"# (\S+\.py)\n", block)
        if language == "python" and name:
            found[name[1]] = block
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folders = "benchmarks|data|datasets|docs|models|options|scripts|tests|util"
    named = re.findall(rf"(?<![\w/.])((?:{folders})/[\w/]+\.(?:py|sh|md))\b", text)
    missing = {name for name in named if not (REPO / name).is_file()} - set(example_files(text))
    assert missing == set()


def paths_of_tree(tree: str) -> list[str]:
    """The paths of a drawn tree: names in the first column, two spaces per level, folders end in ``/``."""
    found: list[str] = []
    folders: list[str] = []
    for line in tree.splitlines():
        level = (len(line) - len(line.lstrip())) // 2
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            del folders[level:]
            found.append("".join(folders) + name)
            if name.endswith("/"):
                folders.append(name)
    return found


def test_paths_of_a_drawn_tree() -> None:
    assert paths_of_tree("a/    text\n  b.py c/    text\n    d.py\ne.py") == [
        "a/",
        "a/b.py",
        "a/c/",
        "a/c/d.py",
        "e.py",
    ]


def test_tree_of_the_architecture_page_exists() -> None:
    text = (REPO / "docs/architecture.md").read_text(encoding="utf-8")
    tree = next(block for language, block in blocks(text) if not language and block.startswith("train.py"))
    named = paths_of_tree(tree)
    assert len(named) > 80
    assert [path for path in named if not list(REPO.glob(path))] == []


def test_every_finding_is_in_the_table_of_surprises() -> None:
    page = (REPO / "docs/differences.md").read_text(encoding="utf-8")
    found = sorted(file.name for file in REPO.glob("findings/*.sh"))
    assert found and [name for name in found if f"(../findings/{name})" not in page] == []


def parser_flags() -> set[str]:
    owners: list[type] = [*{**TRAIN, **TEST}.values(), DataOptions, ModelOptions, EvaluateOptions]
    models = [MODELS.get(name) for name in MODELS.summaries()]
    owners += [record for model in models for record in (model.Options, model.Options.in_tests) if record]
    owners += [generate.GenerateOptions, match.MatchOptions, morph.MorphOptions]
    owners += [DATASETS.get(name).Options for name in DATASETS.summaries()]
    all_specs = [spec for owner in owners for spec in specs(owner).values()]
    return {name for spec in all_specs for name in (spec.name, *spec.aliases)}


def script_flags() -> set[str]:
    """Flags that the project's own commands, benchmarks and shell scripts understand."""
    known = [spec for record in command_records().values() for spec in specs(record).values()]
    found = {name for spec in known for name in (spec.name, *spec.aliases)}
    shells = [*REPO.glob("scripts/*.sh"), *REPO.glob("datasets/*.sh")]
    for file in REPO.glob("benchmarks/*.py"):
        found |= set(re.findall(r'add_argument\(\s*"--([\w-]+)"', file.read_text(encoding="utf-8")))
    case_or_help = re.compile(r"^(?:\s*|#\s+)--([\w-]+)(?:\)|\s\s)", re.M)  # a case, or a row of the head comment
    return found | {flag for file in shells for flag in case_or_help.findall(file.read_text(encoding="utf-8"))}


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--([A-Za-z][\w-]*)", text.replace("\\_", "_")))


def published_only() -> set[str]:
    """The flags that the page of differences lists as not supported."""
    text = (REPO / "docs/differences.md").read_text(encoding="utf-8")
    section = text.split("## Published flags that are not here")[1].split("\n## ")[0]
    return {flag for row in re.findall(r"^\| (`--.*?) \|", section, re.M) for flag in flags_in(row)}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_named_flags_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = parser_flags() | script_flags() | OTHER_TOOLS
    for code in example_files(text).values():
        known |= set(re.findall(r"^ +(\w+): \S+ = arg\(", code, re.M))
    if page.name == "differences.md":
        known |= published_only()
    assert flags_in(text) - known == set()


def test_flags_listed_as_not_supported_are_not() -> None:
    assert len(published_only()) > 5
    assert published_only() & parser_flags() == set()


# --- commands ---------------------------------------------------------------------------------------------------------


def parse(words: list[str]) -> None:
    if words[0] == "scripts/evaluate.py":
        parse_command(words[0], evaluate.RECORDS, evaluate.split_words(words[1:])[0])
        return
    if words[0] == "train.py":
        parse_train(words[1:], MODELS, DATASETS)
        return
    from_noise = {f"--{name}" for name in specs(SampleOptions)} & set(words)  # flags of a run of SAGAN
    parse_test([*(("--model", "sagan") if from_noise else ()), *words[1:]], MODELS, DATASETS)


@pytest.mark.parametrize(
    "words",
    [words for page in PAGES if page_id(page) not in TUTORIALS for words in commands(page.read_text(encoding="utf-8"))],
    ids=" ".join,
)
def test_command_lines_parse(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parse(words)


def test_the_readme_has_commands_of_both_programs() -> None:
    programs = [words[0] for words in commands((REPO / "README.md").read_text(encoding="utf-8"))]
    assert programs.count("train.py") >= 5 and programs.count("test.py") >= 2
    assert programs.count("scripts/evaluate.py") >= 3


def test_the_readme_is_short() -> None:
    assert len((REPO / "README.md").read_text(encoding="utf-8").splitlines()) <= 220


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_visdom_servers_listen_on_this_machine_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    starts = [
        *re.finditer(r"python -m visdom\.server([^`\n]*)", text),
        *re.finditer(r"run_server import main([^`]*)", text),
    ]
    assert [start[0] for start in starts if "-bind_local" not in start[1]] == []


# --- tables -----------------------------------------------------------------------------------------------------------


def first_cells(flag: str) -> dict[str, str]:
    """Name -> row of the README's table whose first head is the flag."""
    text = (REPO / "README.md").read_text(encoding="utf-8")
    table = text.split(f"| `--{flag}` |")[1].split("\n\n")[0]
    return {row[1]: row[0] for row in re.finditer(r"^\| `(\w+)` \|.*$", table, re.M)}


def test_readme_lists_all_models_with_their_papers() -> None:
    rows = first_cells("model")
    assert set(rows) == set(MODELS.summaries())
    for name, summary in MODELS.summaries().items():
        for paper in re.findall(r"arXiv:[\d.]+\d", summary):
            assert paper in rows[name]


def test_readme_lists_all_data_sets() -> None:
    assert set(first_cells("dataset_mode")) == set(DATASETS.summaries())


# --- the examples of the tutorials ------------------------------------------------------------------------------------


@pytest.fixture
def copy_of_the_project(tmp_path: Path) -> Path:
    """The project without tests and documents, to add files to."""
    root = tmp_path / "project"
    for name in ("data", "models", "options", "util"):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "test.py"):
        shutil.copy(REPO / name, root)
    return root


RUN = """
import json, sys
import test, train
from data import DATASETS
from models import MODELS
from options.parse import parse_test, parse_train

for words in json.loads(sys.argv[1]):
    (parse_train if words[0] == "train.py" else parse_test)(words[1:], MODELS, DATASETS)
for words in json.loads(sys.argv[2]):
    code = (train if words[0] == "train.py" else test).main(words[1:])
    if code:
        sys.exit(f"{words}: exit code {code}")
"""

SMALL = (
    "--gpu_ids -1 --netG resnet_6blocks --ngf 4 --ndf 4 --load_size 16 --crop_size 16 --num_threads 0 --display_id 0"
)


def run_example(root: Path, page: str, runs: list[str]) -> None:
    """Add the page's files to the project, parse the page's commands there, and run ``runs``."""
    text = (REPO / page).read_text(encoding="utf-8")
    for name, code in example_files(text).items():
        assert not (root / name).exists(), f"{name} is a file of the project: the page needs another name"
        (root / name).write_text(code, encoding="utf-8")
    shown = [words for words in commands(text) if words[0] in ("train.py", "test.py")]
    assert shown, "the page shows how to use the example"
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(shown), json.dumps([shlex.split(each) for each in runs])],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def draw(file: Path, width: int, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def test_example_models_train_and_test(copy_of_the_project: Path) -> None:
    root = copy_of_the_project
    for number in range(2):
        for phase in ("train", "test"):
            draw(root / "pairs" / phase / f"{number}.png", 32, number)
    run_example(
        root,
        "docs/add_a_model.md",
        [
            f"train.py --model regression --distance l2 --dataroot pairs --name r {SMALL}",
            "test.py --name r --gpu_ids -1",
            f"train.py --model edge_pix2pix --dataroot pairs --name e {SMALL} --netD pixel",
        ],
    )
    results = {file.name for file in (root / "results/r/test_latest/images").iterdir()}
    assert results == {f"{number}_{visual}.png" for number in (0, 1) for visual in ("real_A", "fake_B", "real_B")}
    assert (root / "checkpoints/r/latest_net_G.pth").is_file() and not (
        root / "checkpoints/r/latest_net_D.pth"
    ).exists()
    assert " G_L1: " in (log := (root / "checkpoints/e/loss_log.txt").read_text()) and " G_edge: " in log


def test_example_data_set_trains_and_tests(copy_of_the_project: Path) -> None:
    root = copy_of_the_project
    for number in range(2):
        for side in ("before", "after"):
            draw(root / "repairs" / side / f"{number}.png", 16, number)
    rows = "".join(f"before/{number}.png;after/{number}.png\n" for number in range(2))
    for phase in ("train", "test"):
        (root / "repairs" / f"{phase}.txt").write_text(rows)
    run_example(
        root,
        "docs/add_a_dataset.md",
        [
            f"train.py --model pix2pix --dataset_mode listed --dataroot repairs --name l {SMALL} --netD pixel",
            "test.py --name l --gpu_ids -1",
        ],
    )
    images = root / "results/l/test_latest/images/before"
    assert {file.name for file in images.glob("*_fake_B.png")} == {"0_fake_B.png", "1_fake_B.png"}
    real = np.asarray(Image.open(images / "1_real_A.png"))
    assert np.array_equal(real, np.asarray(Image.open(root / "repairs/before/1.png")))


def draw_pairs(root: Path) -> None:
    for phase in ("train", "val"):
        for number in range(2):
            draw(root / "pairs" / phase / f"{number}.png", 32, number)


def test_example_metrics_are_measured_in_training(copy_of_the_project: Path) -> None:
    root, page = copy_of_the_project, "docs/add_a_metric.md"
    draw_pairs(root)
    entries = [block for _, block in blocks((REPO / page).read_text(encoding="utf-8")) if block.startswith('    "')]
    table = root / "util/metrics/__init__.py"
    head, begin, rest = table.read_text(encoding="utf-8").partition("METRICS: dict[str, Metric] = {\n")
    assert len(entries) == 2 and begin
    table.write_text(head + begin + "".join(entries) + rest, encoding="utf-8")
    flags = "--eval_freq 1 --eval_metrics edge_l1,l1 --save_best edge_l1 --n_epochs 1 --n_epochs_decay 0"
    run_example(root, page, [f"train.py --model pix2pix --dataroot pairs --name m {SMALL} --netD pixel {flags}"])
    header, row = (root / "checkpoints/m/loss_log.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(",")))
    # a sum of two means of differences of neighbours: each is at most twice the mean of what is subtracted
    assert 0 < float(values["edge_l1"]) < 4 * 16 / 15 * float(values["l1"])
    assert (root / "checkpoints/m/best_edge_l1_net_G.pth").is_file()
    code = (
        "import torch; from util.metrics import METRICS\n"
        "a, b = torch.tensor([[0.0, 0], [0, 2]]), torch.tensor([[3.0, 5]])\n"
        "print(METRICS['mean_distance'].function()(a, b).value)\n"
        "x = torch.zeros(1, 3, 2, 2); y = x.clone(); y[..., 0, 0] = 51\n"
        "print(METRICS['edge_l1'].function()(x, y))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    # means (0, 1) and (3, 5): 5; one of two differences is 51/255 in either direction: 0.1 + 0.1
    assert [round(float(line), 6) for line in done.stdout.split()] == [5.0, 0.2], done.stderr


def test_example_logger_writes_its_table_without_a_seam(copy_of_the_project: Path) -> None:
    root = copy_of_the_project
    draw_pairs(root)
    run_example(
        root,
        "docs/add_a_logger.md",
        [
            f"train.py --model pix2pix --dataroot pairs --name t {SMALL} --netD pixel --log_table --n_epochs 2 "
            "--n_epochs_decay 0 --save_epoch_freq 1 --print_freq 2",
            "train.py --name t --continue_train --n_epochs 3",
            f"train.py --model pix2pix --dataroot pairs --name without {SMALL} --netD pixel --n_epochs 1 "
            "--n_epochs_decay 0",
        ],
    )
    rows = (root / "checkpoints/t/epochs.md").read_text().splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| 1", "| 2", "| 3"]
    assert all(" | G_L1 " in row for row in rows)
    assert not (root / "checkpoints/without/epochs.md").exists()
