"""Which files count, and when one of them has changed."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from taskferry.worker.source_watch import SourceWatch


def touch(path: Path) -> None:
    path.write_text("")
    now_ns = path.stat().st_mtime_ns
    os.utime(path, ns=(now_ns + 1_000_000, now_ns + 1_000_000))


def pretend_import(monkeypatch: pytest.MonkeyPatch, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, f"watched_{path.stem}", module)
    return path


def test_an_imported_file_that_changes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = SourceWatch(tmp_path)
    assert not watch.look()
    file = pretend_import(monkeypatch, tmp_path / "package" / "module.py")
    assert not watch.look()
    assert not watch.look()
    touch(file)
    assert watch.look()
    assert watch.changed == file


def test_files_elsewhere_and_installed_ones_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = SourceWatch(tmp_path / "own")
    files = [
        pretend_import(monkeypatch, tmp_path / "other" / "foreign.py"),
        pretend_import(monkeypatch, tmp_path / "own" / "site-packages" / "installed.py"),
        pretend_import(monkeypatch, tmp_path / "own" / "compiled.so"),
    ]
    assert not watch.look()
    for file in files:
        touch(file)
    assert not watch.look()


def test_a_file_that_is_being_replaced_counts_when_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "extra.py"
    file.write_text("")
    watch = SourceWatch(tmp_path)
    assert watch.include((file,))
    file.unlink()
    assert not watch.look()
    touch(file)
    assert watch.look()


def test_nothing_to_watch_is_reported(tmp_path: Path) -> None:
    assert not SourceWatch(tmp_path).include(())
    assert not SourceWatch(tmp_path).include((tmp_path / "missing.py",))
