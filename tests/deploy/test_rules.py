"""promtool checks the Prometheus files, and that each alert fires when it must and only then."""

from pathlib import Path

from tests.deploy.tools import run
from tests.unit.deploy.deployment import DEPLOY

FOLDER = DEPLOY / "prometheus"


def test_the_configuration_and_its_rules_are_valid() -> None:
    assert "SUCCESS: 2 rule files found" in run("promtool", "check", "config", FOLDER / "prometheus.yml")


def test_the_rules_pass_their_tests() -> None:
    run("promtool", "test", "rules", FOLDER / "rule_tests.yml")


def test_the_rule_tests_would_find_an_alert_that_never_fires(tmp_path: Path) -> None:
    for name in ("recording_rules.yml", "alert_rules.yml", "rule_tests.yml"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(
            text.replace("taskferry_command_workers == 0", "taskferry_command_workers < 0")
        )
    said = run("promtool", "test", "rules", tmp_path / "rule_tests.yml", is_successful=False)
    assert "TaskferryCommandWithoutWorkers" in said
