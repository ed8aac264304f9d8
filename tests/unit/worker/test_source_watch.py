"""Which files count, and what counts as a change of one."""

import os
import time
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path
from typing import NoReturn

import pytest
from taskferry.worker import source_watch
from taskferry.worker.source_watch import SourceWatch, WatchError

PATIENCE_S = 10.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with one source file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("TEXT = 'one'\n")
    return tmp_path


def found(watch: SourceWatch) -> Path | None:
    """The file that has changed, once it is noticed."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not watch.look():
        assert time.monotonic() < give_up_at, "no change was noticed"
        time.sleep(0.01)
    return watch.changed


def rewrite(path: Path) -> None:
    path.write_text("TEXT = 'two'\n")


def replace_with_the_same_time(path: Path) -> None:
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_text("TEXT = 'two'\n")
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    other.replace(path)


def write_in_another_encoding(path: Path) -> None:
    path.write_bytes("TEXT = 'café'\n".encode("utf-16"))


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [rewrite, replace_with_the_same_time, write_in_another_encoding, remove])
def test_each_kind_of_change_is_noticed_once(folder: Path, change: Callable[[Path], None]) -> None:
    file = folder / "package" / "module.py"
    watch = SourceWatch()
    assert not watch.look()
    change(file)
    assert found(watch) == file
    assert not watch.look()


def test_so_is_a_file_or_a_whole_package_that_was_not_there_before(folder: Path) -> None:
    watch = SourceWatch()
    (folder / "created.py").write_text("")
    assert found(watch) == folder / "created.py"
    watch = SourceWatch()
    (folder / "other").mkdir()
    (folder / "other" / "module.py").write_text("")
    (folder / "second.py").write_text("")
    assert found(watch) in {folder / "other" / "module.py", folder / "second.py"}


def test_what_tools_and_installers_write_does_not_count(folder: Path) -> None:
    ignored = ["__pycache__", ".venv/lib", "env/lib/site-packages", ".git", "node_modules"]
    for name in ignored:
        (folder / name).mkdir(parents=True)
    watch = SourceWatch()
    for name in ignored:
        (folder / name / "module.py").write_text("")
    for name in ("notes.txt", "module.pyc", "data.json"):
        (folder / name).write_text("")
    rewrite(folder / "package" / "module.py")
    assert found(watch) == folder / "package" / "module.py"


def test_what_python_has_compiled_of_it_is_not_used_again(folder: Path) -> None:
    file = folder / "package" / "module.py"
    compiled = Path(cache_from_source(str(file)))
    compiled.parent.mkdir()
    compiled.write_bytes(b"compiled")
    watch = SourceWatch()
    replace_with_the_same_time(file)
    found(watch)
    assert not compiled.exists()


def test_it_can_be_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_watch, "POLL_INTERVAL_S", 0.0)
    watch = SourceWatch()
    rewrite(folder / "package" / "module.py")
    watch.wait()
    assert watch.changed is not None


def test_a_directory_that_cannot_be_watched_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(source_watch, "watch", refuse)
    with pytest.raises(WatchError, match=r"^--reload: .*limit reached.* set WATCHFILES_FORCE_POLLING=1$"):
        SourceWatch()
