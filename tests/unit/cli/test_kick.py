"""`taskferry connections` and `taskferry kick` against an HTTP server that answers as a broker would."""

import json
from typing import Any

from click.testing import CliRunner, Result
from taskferry.broker.http.operation_views import WHY_LENGTH_MAX
from taskferry.cli.inspection import connections
from taskferry.cli.kick import REASON_LENGTH_MAX, kick

from tests.unit.cli.fake_http_port import HttpPort

HOSTILE = "\x1b[2J"


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "connection_id": f"3fa9c1-{number}",
        "port": "requester",
        "identity": "alice",
        "client_id": None,
        "worker_id": None,
        "device": {},
        "peer": f"10.0.0.7:{4000 + number}",
        "address": "10.0.0.7",
        "encoding": "json",
        "connected_s": 7200.0,
        "heard_s": 1.2,
        "received_count": 12345,
        "sent_count": 6,
        **fields,
    }


def run(command: Any, port: HttpPort, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--http", port.url])


def test_the_connections_of_one_client_are_listed_together(port: HttpPort) -> None:
    rows = [
        row(1, client_id="billing", device={"host": "desk", "system": HOSTILE}),
        row(2, port="worker", identity="crew", worker_id="vm-1"),
        row(3, client_id="billing", device={"host": "phone"}),
        row(4),
    ]
    first = {"connections": rows[:2], "connections_count": 4, "next": "3fa9c1-2"}
    last = {"connections": rows[2:], "connections_count": 4, "next": None}
    port.answers["/api/connections"] = json.dumps(first).encode()
    port.answers["/api/connections?limit=1000&after=3fa9c1-2"] = json.dumps(last).encode()
    result = run(connections, port)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "connection port identity client connected heard in out peer device",
        "3fa9c1-4 requester alice 2.0 h 1 s ago 12,345 6 10.0.0.7:4004",
        r"3fa9c1-1 requester alice billing 2.0 h 1 s ago 12,345 6 10.0.0.7:4001 host=desk system=\x1b[2J",
        "3fa9c1-3 requester alice billing 2.0 h 1 s ago 12,345 6 10.0.0.7:4003 host=phone",
        "3fa9c1-2 worker crew vm-1 2.0 h 1 s ago 12,345 6 10.0.0.7:4002",
    ]
    result = run(connections, port, "--json")
    assert [one["connection_id"] for one in json.loads(result.stdout)["connections"]] == [
        f"3fa9c1-{number}" for number in (1, 2, 3, 4)
    ]


def test_nobody_is_connected_and_nonsense_is_one_line(port: HttpPort) -> None:
    port.answers["/api/connections"] = b'{"connections": [], "connections_count": 0, "next": null}'
    assert "none" in run(connections, port).stdout
    port.answers["/api/connections"] = b'{"connections": [{}], "next": null}'
    result = run(connections, port)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_connections_are_kicked_one_by_one(port: HttpPort) -> None:
    port.answers["/api/connections/3fa9c1-1/kick"] = json.dumps(row(1, client_id="billing")).encode()
    port.answers["/api/connections/a%2F%C3%BC/kick"] = json.dumps(row(2)).encode()
    port.refusals["/api/connections/old/kick"] = (404, b'{"error": "no connection \'old\' is open"}')
    result = run(kick, port, "3fa9c1-1", "old", "a/ü", "--reason", "too old")
    assert (result.exit_code, result.stderr) == (1, "error: no connection 'old' is open\n")
    assert result.stdout == (
        "3fa9c1-1 is closed: billing at 10.0.0.7:4001 on the requester port\n"
        "3fa9c1-2 is closed: alice at 10.0.0.7:4002 on the requester port\n"
    )
    assert [body for _, _, body in port.posted] == [{"reason": "too old"}] * 3


def test_json_is_one_line_with_what_was_closed(port: HttpPort) -> None:
    port.answers["/api/connections/x/kick"] = json.dumps(row(1)).encode()
    result = run(kick, port, "x", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"connections": [row(1)]})
    port.answers["/api/connections/x/kick"] = b"[]"
    result = run(kick, port, "x", "--json")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_a_reason_is_short_and_printable(port: HttpPort) -> None:
    assert REASON_LENGTH_MAX == WHY_LENGTH_MAX
    port.answers["/api/connections/x/kick"] = json.dumps(row(1)).encode()
    assert run(kick, port, "x", "--reason", "ü" * REASON_LENGTH_MAX).exit_code == 0
    for reason in ("x" * (REASON_LENGTH_MAX + 1), HOSTILE, "two\nlines"):
        result = run(kick, port, "x", "--reason", reason)
        assert (result.exit_code, "--reason" in result.stderr) == (2, True)
    assert len(port.posted) == 1
