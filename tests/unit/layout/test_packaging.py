"""pyproject.toml and the link tree name exactly the existing package folders."""

import re
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

from tests.unit.layout.source_tree import (
    NAMESPACE,
    ROOT,
    all_python_files,
    package_folders,
    package_roots,
    pyproject,
    relative,
    source_files,
)


def test_every_package_has_an_init_and_the_type_marker_by_which_setup_py_finds_it() -> None:
    missing = [
        f"{folder}/{name}"
        for folder in package_folders().values()
        for name in ("__init__.py", "py.typed")
        if not (ROOT / folder / name).is_file()
    ]
    assert missing == []


def test_no_folder_at_the_root_shadows_the_installed_namespace() -> None:
    assert not (ROOT / "taskferry").exists()


def test_the_link_tree_for_the_type_checker_matches_the_packages() -> None:
    links = {link.name: link.readlink().as_posix() for link in (ROOT / ".mypy" / "taskferry").iterdir()}
    modules = {path.name: f"../../{relative(path)}" for path in (ROOT / NAMESPACE).glob("*.py")}
    assert links == {name: f"../../{name}" for name in package_roots()} | modules


def test_every_folder_with_python_is_type_checked() -> None:
    folders = {relative(path).partition("/")[0] for path in all_python_files()} - {
        *package_roots(),
        NAMESPACE,
    }
    assert set(pyproject()["tool"]["mypy"]["packages"]) == folders | {"taskferry"}


def test_every_package_is_under_the_import_contracts_and_coverage() -> None:
    tool = pyproject()["tool"]
    assert sorted(tool["importlinter"]["root_packages"]) == [f"taskferry.{name}" for name in package_roots()]
    assert sorted(tool["coverage"]["run"]["source_dirs"]) == package_roots()


def test_only_pyproject_has_the_version() -> None:
    declared = pyproject()["project"]["version"]
    assert version("taskferry") == declared
    copies = [
        relative(path)
        for path in source_files()
        if re.search(
            rf"__version__\s*=\s*['\"]|['\"]{re.escape(declared)}['\"]", path.read_text(encoding="utf-8")
        )
    ]
    assert copies == []


def test_the_command_is_installed_and_loads() -> None:
    (script,) = entry_points(group="console_scripts", name="taskferry")
    assert callable(script.load())


def test_the_package_runs_as_a_module_whatever_the_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskferry", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"taskferry {version('taskferry')}\n", "")


def test_every_test_that_runs_without_coverage_runs_on_the_wheel() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^ON_WHEEL := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    on_wheel = tuple(listed.replace("\\", "").split())
    marker = "pytest.mark." + "uncovered"
    tests = (path for path in all_python_files() if path.name.startswith("test_"))
    marked = [path for path in tests if marker in path.read_text(encoding="utf-8")]
    assert [relative(path) for path in marked if not relative(path).startswith(on_wheel)] == []
