"""How modules name each other: always as `taskferry...`, relative inside the package. import-linter checks layers."""

import re

from tests.unit.layout.source_tree import (
    absolute_imports,
    all_python_files,
    package_roots,
    relative,
    source_files,
)


def test_no_package_is_imported_by_the_name_of_its_folder() -> None:
    # It would work only from the checkout, where the folders are on the path.
    folders = set(package_roots())
    # Few files have a line that might be one, and ruff allows one import a line: only those are parsed.
    suspect = re.compile(rf"^\s*(?:from|import)\b.*(?<!\.)\b(?:{'|'.join(folders)})\b", re.MULTILINE)
    found = [
        f"{relative(path)}:{line} imports {name}, which is taskferry.{name}"
        for path in all_python_files()
        if suspect.search(path.read_text(encoding="utf-8"))
        for line, name in absolute_imports(path)
        if name.partition(".")[0] in folders
    ]
    assert found == []


def test_imports_inside_the_package_are_relative() -> None:
    found = [
        f"{relative(path)}:{line} imports {name}"
        for path in source_files()
        for line, name in absolute_imports(path)
        if name.partition(".")[0] == "taskferry"
    ]
    assert found == []


def test_the_package_imports_only_what_is_installed_with_it() -> None:
    found = [
        f"{relative(path)}:{line} imports {name}"
        for path in source_files()
        for line, name in absolute_imports(path)
        if name.partition(".")[0] in {"benchmarks", "examples", "tests"}
    ]
    assert found == []
