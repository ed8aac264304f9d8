"""systemd reads the units without a complaint and finds them well shut in; and a broker can live under the filter of
system calls that its unit puts over it."""

import re
from pathlib import Path

import pytest

from tests.deploy.tools import needed, run
from tests.unit.deploy.deployment import DEPLOY
from tests.unit.deploy.test_systemd import PROGRAM, UNITS

EXPOSURE_MAX = 1.5
"""systemd's own measure, from 0 (shut in) to 10 (everything open); up to 2 it is content. What is left of the broker is
the network and the root of the file system."""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Path]:
    """The units as on a machine where the program is installed, if somewhere else: systemd looks whether it is."""
    program = needed("taskferry")
    units = {role: tmp_path / unit.name for role, unit in UNITS.items()}
    for role, path in units.items():
        path.write_text(UNITS[role].read_text(encoding="utf-8").replace(PROGRAM, program), encoding="utf-8")
    return units


def test_systemd_reads_them_without_a_complaint(installed: dict[str, Path]) -> None:
    assert run("systemd-analyze", "verify", "--man=no", *installed.values()).strip() == ""


def test_systemd_finds_a_misspelt_directive(installed: dict[str, Path]) -> None:
    unit = installed["broker"]
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectHome", "ProtectHouse"), encoding="utf-8")
    assert "ProtectHouse" in run("systemd-analyze", "verify", "--man=no", unit)


@pytest.mark.parametrize("role", UNITS)
def test_systemd_finds_them_well_shut_in(installed: dict[str, Path], role: str) -> None:
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", installed[role])
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE_MAX, said


def test_the_example_settings_lie_where_the_unit_looks() -> None:
    assert (DEPLOY / "systemd" / "broker.toml").is_file()
    assert "--config /etc/taskferry/broker.toml" in UNITS["broker"].read_text(encoding="utf-8")
