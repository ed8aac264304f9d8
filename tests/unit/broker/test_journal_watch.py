"""What the journal reports is counted, and a row of failures is two events: its beginning and its end."""

import logging

import pytest
from taskferry.broker.jobs.ports import JournalError
from taskferry.broker.journal_watch import JournalWatch
from taskferry.log.event import Event


def test_commits_are_counted() -> None:
    watch = JournalWatch()
    watch.committed(250, 0.004)
    watch.committed(1, 0.1)
    assert watch.rows_count == 251
    assert sum(watch.commit_duration.counts) == 2
    assert watch.commit_duration.sum_s == pytest.approx(0.104)


def test_a_row_of_failures_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    watch = JournalWatch()
    assert watch.error is None
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    watch.failed(JournalError("journal /var/j.db: the disk is full"))
    assert watch.error == "journal /var/j.db: the disk is full"
    now = 130.5
    watch.recovered()
    assert watch.error is None
    assert watch.failures_count == 1
    assert [
        (record.levelname, str(record.msg)) for record in caplog.records if isinstance(record.msg, Event)
    ] == [
        ("ERROR", "the journal cannot be written, no job is accepted: journal /var/j.db: the disk is full"),
        ("INFO", "the journal can be written again, after 30.5 s"),
    ]
