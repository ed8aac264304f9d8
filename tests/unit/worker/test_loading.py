"""From MODULE:WORKER to a Worker, or one line that says why not and where."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from taskferry.worker.loading import LoadError, load_worker

GOOD = "from taskferry.worker import Worker\nworker = other = Worker()\nworker.command('x')(lambda: 1)\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(target: str) -> str:
    with pytest.raises(LoadError) as caught:
        load_worker(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_worker_is_found_in_the_current_directory(folder: Path) -> None:
    (folder / "ferry_good.py").write_text(GOOD)
    (folder / "ferry_package").mkdir()
    (folder / "ferry_package" / "inner.py").write_text(GOOD)
    assert load_worker("ferry_good:worker") is load_worker("ferry_good") is load_worker("ferry_good:other")
    assert list(load_worker("ferry_package.inner:worker").commands) == ["x"]


def test_what_is_not_there_is_named(folder: Path) -> None:
    (folder / "ferry_good.py").write_text(GOOD)
    assert (
        refusal("ferry_none:worker") == f"there is no module 'ferry_none' in {folder} or on the Python path"
    )
    assert refusal("ferry_good.inner:worker").startswith("there is no module 'ferry_good.inner' in ")
    assert refusal("ferry_good:app") == (
        "module 'ferry_good' has no 'app'; it has ferry_good:worker, ferry_good:other"
    )


def test_what_is_no_worker_is_named(folder: Path) -> None:
    (folder / "ferry_wrong.py").write_text(
        "from taskferry.worker import Worker\nworker = 7\nempty = Worker()\n"
    )
    assert refusal("ferry_wrong:worker") == "ferry_wrong:worker is a int, not a Worker"
    assert refusal("ferry_wrong:empty").startswith(
        "ferry_wrong:empty has no commands; register a handler with @"
    )
    (folder / "ferry_bare.py").write_text("")
    assert refusal("ferry_bare") == "module 'ferry_bare' has no 'worker'"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("tasks.py", "'tasks.py' is a file; name the module: tasks:worker"),
        ("./app/tasks.py:w", "'./app/tasks.py' is a file; name the module: app.tasks:w"),
        ("a-b:worker", "'a-b:worker' is not of the form MODULE:WORKER"),
        (":worker", "':worker' is not of the form MODULE:WORKER"),
    ],
)
def test_a_target_of_the_wrong_form_is_mended(target: str, expected: str) -> None:
    with pytest.raises(LoadError) as caught:
        load_worker(target)
    assert str(caught.value) == expected
    assert caught.value.is_final


@pytest.mark.parametrize(
    ("source", "line", "expected"),
    [
        ("x = 1\ny = z\n", 2, "NameError: name 'z' is not defined"),
        ("def f(:\n", 1, "SyntaxError: invalid syntax"),
        ("import ferry_missing\n", 1, "ModuleNotFoundError: No module named 'ferry_missing'"),
        ("raise SystemExit\n", 1, "SystemExit"),
        ("raise ValueError('one\\ntwo')\n", 1, "ValueError: one two"),
        (
            "from taskferry.worker import Worker\nworker = Worker(weight=1000)\n",
            2,
            "ValueError: weight: expected a number from 0.01 to 100, got 1000",
        ),
        (
            "from taskferry.worker import Worker\nworker = Worker()\n\n\n@worker.command()\ndef f(*a): ...\n",
            5,
            "TypeError: command 'f': *a: parameters are passed by name",
        ),
    ],
)
def test_a_module_that_fails_is_reported_with_the_line(
    folder: Path, source: str, line: int, expected: str
) -> None:
    file = folder / "ferry_broken.py"
    file.write_text(source)
    with pytest.raises(LoadError) as caught:
        load_worker("ferry_broken:worker")
    assert str(caught.value) == f"{file}:{line}: {expected}"
    assert not caught.value.is_final


def test_the_innermost_line_of_the_users_code_is_reported(folder: Path) -> None:
    (folder / "ferry_outer.py").write_text("import ferry_inner\n")
    (folder / "ferry_inner.py").write_text("import json\njson.loads('{')\n")
    with pytest.raises(LoadError, match=r"ferry_inner.py:2: JSONDecodeError: "):
        load_worker("ferry_outer")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("TEXT = 'caf\u00e9'\n".encode("latin-1"), "{inner}:1: SyntaxError: (unicode error) 'utf-8' codec"),
        (
            "TEXT = 'café'\n".encode("utf-16"),
            "{outer}:1: what is imported here cannot be read as UTF-8 text: ",
        ),
        (b"# coding: nonsense\n", "{inner}:0: SyntaxError: unknown encoding: nonsense"),
    ],
)
def test_a_file_in_another_encoding_is_not_blamed_on_its_importer(
    folder: Path, content: bytes, expected: str
) -> None:
    (folder / "ferry_outer.py").write_text("import ferry_inner\n")
    (folder / "ferry_inner.py").write_bytes(content)
    files = {"outer": folder / "ferry_outer.py", "inner": folder / "ferry_inner.py"}
    assert refusal("ferry_outer").startswith(expected.format(**files))


def test_an_interrupt_passes(folder: Path) -> None:
    (folder / "ferry_interrupted.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_worker("ferry_interrupted")


def test_a_directory_that_was_removed_is_named(folder: Path) -> None:
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()
    with pytest.raises(LoadError, match="the current directory has been removed"):
        load_worker("tasks:worker")
