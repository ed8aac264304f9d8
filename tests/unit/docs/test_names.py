"""The map, the decisions and the guides name only what exists: folders, files, classes, their members, constants."""

import ast
import builtins
import functools
import re
import typing

from tests.each_case import each_case
from tests.unit.docs.pages import Page, page, pages
from tests.unit.layout.source_tree import ROOT, source_files, syntax_tree

MAP = page("ARCHITECTURE.md")
CHECKED = [
    found
    for found in pages()
    if found is MAP
    or found.name.startswith("docs/decisions/")
    or found.name in {"docs/performance.md", "docs/workers.md", "docs/requesters.md", "docs/upgrading.md"}
]


def cases(pattern: str) -> list[tuple[Page, str]]:
    """Each quoted text on these pages that has this form, with its page."""
    return [
        (checked, found)
        for checked in CHECKED
        for found in sorted(checked.quoted)
        if re.fullmatch(pattern, found)
    ]


PATHS = cases(r"[a-z][\w./]*/|[\w./]+/\w+\.(py|md|toml|c)|[A-Z]+\.md")
NAMES = cases(r"[A-Z]\w+(\.\w+)?")
WORDS = cases(r"[a-z]\w*_\w+")


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


@functools.cache
def words() -> set[str]:
    """Every word of the sources, in code or text."""
    return {word for path in source_files() for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}


@each_case(("source", "path"), PATHS)
def test_each_path_exists(source: Page, path: str) -> None:
    assert (ROOT / path).exists(), source


@each_case(("source", "name"), NAMES)
def test_each_name_is_defined(source: Page, name: str) -> None:
    is_variable = name.startswith("TASKFERRY_") and name in words()
    is_defined = name in defined_names() or is_variable or hasattr(builtins, name) or hasattr(typing, name)
    assert is_defined, source


@each_case(("source", "word"), WORDS)
def test_each_word_of_code_is_in_the_sources(source: Page, word: str) -> None:
    assert word in words(), source


def test_they_name_enough_to_be_worth_testing() -> None:
    assert len(PATHS) > 20
    assert len(NAMES) > 80
    assert len(WORDS) > 30


def test_each_package_has_a_row() -> None:
    for path in source_files():
        folder = path.parent.relative_to(ROOT).as_posix()
        assert f"| `{folder}/` |" in MAP.text


def test_the_map_is_short() -> None:
    assert len(MAP.text.encode()) <= 10 * 1024


@each_case("decision", [found for found in pages() if re.match(r"docs/decisions/\d", found.name)])
def test_a_decision_has_its_parts(decision: Page) -> None:
    parts = re.findall(r"^\*\*(\w+)\.\*\* ", decision.text, re.MULTILINE)
    assert parts == ["Question", "Choice", "Reason", "Alternatives"]
    number = decision.path.name.partition("-")[0]
    assert decision.text.startswith(f"# {int(number)}. ")
    assert f"| {int(number)} | [" in page("docs/decisions/README.md").text
