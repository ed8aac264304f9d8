"""That no more files can be opened is logged once, and so is that they can be again."""

import logging
import resource

import pytest
from taskferry.broker.open_files import OpenFiles


def test_it_is_logged_when_the_last_one_is_taken_and_when_there_is_one_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    files = OpenFiles()
    files.check()
    assert not caplog.messages
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        files.check()
        files.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files.check()
    files.check()
    exhausted, free = caplog.messages
    assert exhausted.startswith("no more open files (too many open files): ")
    assert free.startswith("files can be opened again")
