"""The benchmark of the strategies runs: a few assignments only, and no bound on the time they take."""

import json
from pathlib import Path

import pytest
from taskferry.loadbalance.registry import STRATEGIES

from benchmarks.strategy_cost import WORKERS_COUNTS, main


@pytest.mark.uncovered
def test_it_prints_every_strategy_and_writes_every_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "costs.json"
    names = [
        name for name in STRATEGIES if name != "consistent_hash"
    ]  # 5,000 workers on a ring take a second
    chosen = [option for name in names for option in ("--strategy", name)]
    assert main([*chosen, "--assignments", "20", "--rounds", "1", "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["strategy", *(name for name in names for _ in "ab")]
    costs = json.loads(path.read_text())
    assert len(costs) == len(names) * 2 * len(WORKERS_COUNTS)
    assert all(cost["assignment_ns"] >= 0 for cost in costs)


def test_a_file_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--strategy", "random", "--assignments", "1", "--rounds", "1"]
    assert main([*options, "--json", str(tmp_path)]) == 1
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--assignments", "--rounds"])
def test_nothing_is_not_a_number_of_rounds(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([option, "0"])
    assert exit_.value.code == 2
    assert option in capsys.readouterr().err
