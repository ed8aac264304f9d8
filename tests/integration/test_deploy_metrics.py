"""A running broker exports every metric and label that rules, dashboard and autoscaler name."""

import json
from collections.abc import Iterator
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from taskferry.requester import BlockingRequester
from websockets.sync.client import connect

from tests.processes import PATIENCE_S, Broker, Programs, wait_until
from tests.unit.deploy.queries import (
    GIVEN_BY_PROMETHEUS,
    LABELS_OF_A_SCRAPE,
    queries,
    rules,
)

SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def _exported(text: str) -> Iterator[tuple[str, set[str]]]:
    """Each name that can be queried, with the labels of its samples: none if it has no samples yet."""
    for family in text_string_to_metric_families(text):
        for suffix in SUFFIXES.get(family.type, ("",)):
            name = family.name + suffix
            yield name, {label for sample in family.samples if sample.name == name for label in sample.labels}


def _run_jobs(broker: Broker) -> None:
    """A job that is done, one that is dead, and one that is refused: all rows of jobs are there."""
    with connect(broker.requester_url) as requester:
        for job_id, data in (
            ("good", {"message": "x"}),
            ("bad", {"massage": "x"}),
            ("good", {"message": "y"}),
        ):
            submission = {"type": "submit", "command": "echo", "job_id": job_id, "data": data}
            requester.send(json.dumps(submission))
            requester.recv(PATIENCE_S)
    wait_until(
        lambda: {"done", "dead: bad_request"} <= set(broker.status()["jobs"]["ended"]), "both have ended"
    )


def test_every_queried_metric_is_exported(programs: Programs, broker: Broker) -> None:
    programs.start("-m", "taskferry.worker", "--broker", broker.worker_url)
    wait_until(broker.workers, "a worker")
    with BlockingRequester(broker.requester_url) as requester:
        requester.call("echo", {"message": "x"})
    _run_jobs(broker)
    exported = dict(_exported(broker.get("/metrics")[1]))

    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = {name for query in queries() for name in query.selected}
    assert named - set(exported) - recorded - GIVEN_BY_PROMETHEUS == set()

    for query in queries():
        of_the_broker = {name: labels for name, labels in query.selected.items() if exported.get(name)}
        for name, labels in of_the_broker.items():
            assert labels <= exported[name] | LABELS_OF_A_SCRAPE, f"{query.where}: {query.text}"
        if of_the_broker and len(of_the_broker) == len(query.selected):
            known = set().union(*(exported[name] for name in of_the_broker))
            assert query.grouping <= known | LABELS_OF_A_SCRAPE, f"{query.where}: {query.text}"
