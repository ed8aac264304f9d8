"""No token may ever be printed. What every program under test prints, and what every test logs, is searched for one.

Tests log in with tokens that look like real ones, so one that leaks is found wherever that happens.
"""

import re
from collections.abc import Generator
from typing import Final

import pytest

_TOKEN: Final = re.compile(r"tfk_[A-Za-z0-9_-]{8,}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.")
"""A static token, or the head and claims of a JWT."""


def check_no_token(text: str, where: str) -> None:
    """Raise AssertionError if there is a token in what was printed."""
    found = _TOKEN.search(text)
    if found is not None:
        start = max(0, found.start() - 200)
        raise AssertionError(f"{where} shows a token: ...{text[start : found.end()]!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that has printed or logged a token."""
    report = yield
    try:
        for what, text in report.sections:
            check_no_token(text, what)
    except AssertionError as error:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {error}"
    return report
