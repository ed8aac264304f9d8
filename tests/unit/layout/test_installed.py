"""What is installed is what was written, and compiled where setup.py says so. Runs on the sources and on the wheel."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
import taskferry.broker

from tests.unit.layout.source_tree import ROOT, relative, source_files, syntax_tree

IS_EDITABLE = Path(taskferry.broker.__file__).is_relative_to(ROOT / "broker")
"""The sources are imported from where they lie: nothing but the C that is written by hand is compiled."""


def module_of(path: Path) -> str:
    """The dotted name under which a file of the tree is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("taskferry", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def compiled_files() -> set[Path]:
    """What setup.py has compiled for a wheel."""
    named = {
        ast.unparse(node.targets[0]): node.value
        for node in syntax_tree(ROOT / "setup.py").body
        if isinstance(node, ast.Assign)
    }
    patterns = ast.literal_eval(named["COMPILED"])
    assert all(any(ROOT.glob(pattern)) for pattern in patterns)
    files = {path for pattern in patterns for path in ROOT.glob(pattern)}
    exempt = {ROOT / name for name in ast.literal_eval(named["NOT_COMPILED"])}
    assert exempt <= files
    return files - exempt


def is_python(module: str) -> bool:
    spec = find_spec(module)
    assert spec is not None, f"{module} is not installed"
    assert spec.origin is not None
    return spec.origin.endswith(".py")


def test_every_module_is_installed() -> None:
    assert [relative(path) for path in source_files() if find_spec(module_of(path)) is None] == []


def test_exactly_what_setup_py_names_is_compiled() -> None:
    expected = set() if IS_EDITABLE else compiled_files()
    found = {path for path in source_files() if not is_python(module_of(path))}
    assert sorted(map(relative, found)) == sorted(map(relative, expected))


@pytest.mark.parametrize("module", ["taskferry.protocol._json", "taskferry.transport._frames"])
def test_what_is_written_in_c_is_compiled(module: str) -> None:
    assert not is_python(module)
