"""Shared by the tests of the command line: an HTTP port that is closed after each test."""

from collections.abc import Iterator

import pytest

from tests.unit.cli.fake_http_port import HttpPort, fake_http_port


@pytest.fixture
def port() -> Iterator[HttpPort]:
    with fake_http_port() as port:
        yield port
