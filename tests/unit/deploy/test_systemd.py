"""The systemd units: options and variables that exist, time to drain, and the same hardening for both except for what
the handlers in a worker need."""

import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
from taskferry.broker.settings import BROKER
from taskferry.broker.storage.location import default_path
from taskferry.configuration.sources import Sources
from taskferry.log.settings import LOG

from tests.unit.deploy.deployment import DEPLOY, parsed, variables_of

FOLDER = DEPLOY / "systemd"
UNITS = {"broker": FOLDER / "taskferry-broker.service", "worker": FOLDER / "taskferry-worker@.service"}
DROP_INS = {"broker": FOLDER / "broker-access.conf", "worker": FOLDER / "worker-token.conf"}
PROGRAM = "/opt/taskferry/bin/taskferry"


def directives(path: Path) -> dict[str, list[str]]:
    """The directives of a unit, each with its values in order."""
    found = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def environment(unit: dict[str, list[str]]) -> dict[str, str]:
    pairs = [pair for line in unit["Environment"] for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("role", UNITS)
def test_it_runs_an_existing_command_with_settings_that_exist(role: str) -> None:
    unit = directives(UNITS[role])
    program, *arguments = shlex.split(unit["ExecStart"][0])
    assert (program, arguments[0]) == (PROGRAM, role)
    assert parsed([argument for argument in arguments if not argument.startswith("$")])
    ours = {name for name in environment(unit) if name.startswith("TASKFERRY_")}
    assert ours <= variables_of(role)


@pytest.mark.parametrize("role", UNITS)
def test_it_gets_longer_than_it_needs_to_drain(role: str) -> None:
    unit = directives(UNITS[role])
    given = environment(unit).get("TASKFERRY_WORKER_GRACE")
    grace_s = float(given or parsed(shlex.split(unit["ExecStart"][0])[1:])["grace"])
    assert float(unit["TimeoutStopSec"][0]) >= grace_s + 5
    assert unit["KillMode"] == ["mixed"]  # the parent stops a worker's processes, not systemd


@pytest.mark.parametrize("role", UNITS)
def test_it_restarts_after_any_failure_except_wrong_settings(role: str) -> None:
    unit = directives(UNITS[role])
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_beyond_the_brokers_privileges_a_worker_has_only_those_that_handlers_need() -> None:
    broker, worker = (directives(UNITS[role]) for role in ("broker", "worker"))
    for unit in (broker, worker):
        assert unit["DynamicUser"] == unit["NoNewPrivileges"] == ["yes"]
        assert unit["ProtectSystem"] == ["strict"]
        assert unit["CapabilityBoundingSet"] == [""]
    hardening = {key for key in broker if re.match(r"Private|Protect|Restrict[A-Z]|Lock|Memory|Remove", key)}
    differing = {key for key in hardening if broker[key] != worker[key]}
    assert differing == {"MemoryDenyWriteExecute", "RestrictAddressFamilies"}


def test_the_broker_may_write_to_its_state_directory_where_the_journal_is_by_default() -> None:
    unit = directives(UNITS["broker"])
    (name,) = unit["StateDirectory"]
    assert unit["StateDirectoryMode"] == ["0700"]
    folder = Path("/var/lib") / name  # as systemd makes it, and names it to the program
    assert default_path({"STATE_DIRECTORY": str(folder)}, Path("/home/nobody")) == folder / "journal.db"
    assert "--journal" not in unit["ExecStart"][0]


def test_a_reload_is_sent_as_the_signal_that_the_broker_expects() -> None:
    assert directives(UNITS["broker"])["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.parametrize("role", DROP_INS)
def test_the_variables_of_a_drop_in_exist(role: str) -> None:
    assert set(environment(directives(DROP_INS[role]))) <= variables_of(role)


def test_a_reload_brings_the_access_file_up_to_date_before_the_signal() -> None:
    drop_in = directives(DROP_INS["broker"])
    (at_start,) = drop_in["ExecStartPre"]
    assert drop_in["ExecReload"] == ["", at_start, *directives(UNITS["broker"])["ExecReload"]]
    assert environment(drop_in)["TASKFERRY_BROKER_ACCESS"] == at_start.split()[-1]


def test_the_brokers_settings_are_valid() -> None:
    read = Sources([BROKER, LOG], FOLDER / "broker.toml").read()
    assert read.settings(BROKER).host == "127.0.0.1"


def test_the_workers_variables_exist() -> None:
    lines = (FOLDER / "worker.env").read_text(encoding="utf-8").splitlines()
    named = {found[1] for line in lines if (found := re.match(r"#?([A-Z_]+)=", line))}
    assert named <= variables_of("worker") | {"WORKER_MODULE"}
    assert "$WORKER_MODULE" in directives(UNITS["worker"])["ExecStart"][0]
