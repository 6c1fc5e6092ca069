"""Count what the layout promises: files, lines, import circles, names of the base class, imports inside functions.

    python benchmarks/house.py [--root DIR]

Tests and documents are left out. ``--root`` counts another checkout, e.g. an earlier commit.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def code_files(root: Path) -> dict[str, str]:
    """Path -> text of every Python and shell file that git tracks, without tests."""
    command = ["git", "-C", str(root), "ls-files", "*.py", "*.sh"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {name: (root / name).read_text(encoding="utf-8") for name in names if not name.startswith("tests/")}


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Modules of the project that a file imports, those for type checkers included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules else node.module


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Every import circle that a depth-first search meets, as ``a -> b -> a``."""
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(" -> ".join((*way[way.index(module) :], module)))
        elif module not in done:
            for name in sorted(graph.get(module, ())):
                visit(name, (*way, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    return found


def inner_imports(tree: ast.AST) -> int:
    """Import statements inside functions."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inner = {
        (node.lineno, node.col_offset)
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    return len(inner)


def public_names(tree: ast.Module, name: str) -> int:
    """Public methods and class attributes of a class."""
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    names = [node.name for node in found.body if isinstance(node, ast.FunctionDef)]
    names += [
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return len([each for each in names if not each.startswith("_")])


def main(argv: list[str]) -> int:
    root = Path(argv[argv.index("--root") + 1] if "--root" in argv else Path(__file__).resolve().parent.parent)
    files = code_files(root)
    python = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    modules = {module_name(path) for path in python}
    graph = {
        module_name(path): {name for name in imported(tree, modules) if name in modules and name != module_name(path)}
        for path, tree in python.items()
    }
    rows = {
        "files without tests": len(files),
        "lines": sum(text.count("\n") for text in files.values()),
        "files flat in util": sum(path.startswith("util/") and path.count("/") == 1 for path in python),
        "files flat in scripts": sum(path.startswith("scripts/") and path.count("/") == 1 for path in python),
        "import circles": len(circles(graph)),
        "names of the base class": public_names(python["models/base_model.py"], "BaseModel"),
        "imports inside functions": sum(inner_imports(tree) for tree in python.values()),
    }
    for title, number in rows.items():
        print(f"{number:>7,}  {title}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
