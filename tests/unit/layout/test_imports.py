"""How modules name each other: always as `taskferry...`, relative inside the package. Layers are import-linter's."""

from tests.unit.layout.source_tree import (
    absolute_imports,
    all_python_files,
    package_roots,
    relative,
    source_files,
)


def test_no_package_is_imported_by_the_name_of_its_folder() -> None:
    # It would work from the checkout, where the folders lie on the path, and nowhere else.
    folders = set(package_roots())
    found = [
        f"{relative(path)}:{line} imports {name}, which is taskferry.{name}"
        for path in all_python_files()
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


def test_the_package_does_not_import_what_is_not_installed_with_it() -> None:
    found = [
        f"{relative(path)}:{line} imports {name}"
        for path in source_files()
        for line, name in absolute_imports(path)
        if name.partition(".")[0] in {"benchmarks", "examples", "tests"}
    ]
    assert found == []
