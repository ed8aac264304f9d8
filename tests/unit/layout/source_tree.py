"""The source tree for the layout tests: paths and syntax trees."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
UNPACKAGED = {"benchmarks", "deploy", "docs", "examples", "tests"}
"""Folders at the root that hold Python without being part of the installed package."""
NAMESPACE = "namespace"
"""The folder of what is in `taskferry` itself, outside all sub-packages."""


@cache
def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def package_roots() -> list[str]:
    """The names of the folders at the root that are sub-packages of `taskferry`, sorted."""
    return sorted(
        folder.name
        for folder in ROOT.iterdir()
        if folder.is_dir()
        and not folder.name.startswith(".")
        and folder.name not in {*UNPACKAGED, NAMESPACE}
        and any(folder.glob("*.py"))
    )


def package_folders() -> dict[str, str]:
    """Each importable package of the tree and its folder: `{"taskferry.broker.core": "broker/core", ...}`."""
    folders = {path.parent.relative_to(ROOT) for path in source_files()}
    return {"taskferry." + ".".join(folder.parts): folder.as_posix() for folder in folders}


def source_files() -> list[Path]:
    """Every Python file that is installed, sorted."""
    return sorted(path for name in package_roots() for path in _python_files(ROOT / name))


def all_python_files() -> list[Path]:
    """Every Python file of the repository, including tests and examples, sorted."""
    others = (path for name in (*UNPACKAGED, NAMESPACE) for path in _python_files(ROOT / name))
    return sorted([*source_files(), *others])


def relative(path: Path) -> str:
    """The name of a file in a failure."""
    return path.relative_to(ROOT).as_posix()


@cache
def syntax_tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def absolute_imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and dotted name of each absolute import in the file, including those inside functions."""
    return tuple(_absolute_imports(path))


def _absolute_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(syntax_tree(path)):
        match node:
            case ast.Import(names=names, lineno=line):
                yield from ((line, alias.name) for alias in names)
            case ast.ImportFrom(level=0, module=str(module), lineno=line):
                yield line, module


def _python_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]
