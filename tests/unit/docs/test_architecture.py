"""ARCHITECTURE.md names only what exists: its folders, files, classes, their members and its constants."""

import ast
import functools
import re

import pytest

from tests.unit.layout.source_tree import ROOT, source_files, syntax_tree

TEXT = (ROOT / "ARCHITECTURE.md").read_text()
QUOTED = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
PATHS = [name for name in QUOTED if re.fullmatch(r"[\w./]+/|[\w./]+\.(py|md|toml)", name)]
NAMES = [name for name in QUOTED if re.fullmatch(r"[A-Z]\w+(\.\w+)?", name)]


@functools.cache
def defined_names() -> set[str]:
    """Every class, its members as `Class.member`, every function and every constant of the sources."""
    names: set[str] = set()
    for path in source_files():
        for node in ast.walk(syntax_tree(path)):
            match node:
                case ast.ClassDef(name=class_name):
                    names.add(class_name)
                    names.update(f"{class_name}.{member}" for member in _members(node))
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    names.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(name)
    return names


def _members(class_node: ast.ClassDef) -> set[str]:
    members: set[str] = set()
    for node in ast.walk(class_node):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.AnnAssign(target=ast.Name(id=name))
            ):
                members.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                members.add(name)
    return members


@pytest.mark.parametrize("path", PATHS)
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_defined(name: str) -> None:
    assert name in defined_names()


def test_it_names_enough_to_be_worth_testing() -> None:
    assert len(PATHS) > 10
    assert len(NAMES) > 20


def test_each_package_has_a_row() -> None:
    for path in source_files():
        folder = path.parent.relative_to(ROOT).as_posix()
        assert f"| `{folder}/` |" in TEXT
