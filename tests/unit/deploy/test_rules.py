"""The Prometheus rules: what promtool does not check."""

import re

from taskferry.protocol.errors import REGISTRY

from tests.unit.deploy.deployment import DEPLOY, read_yaml
from tests.unit.deploy.queries import dashboard, rules

ALERTS = [rule for rule in rules() if "alert" in rule]


def test_every_alert_has_a_severity_a_cause_and_an_action() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"warning", "critical"}, alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]
        assert alert["annotations"]["summary"].endswith("."), alert["alert"]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    is_quiet: set[str] = set()
    for case in read_yaml(DEPLOY / "prometheus" / "rule_tests.yml")["tests"]:
        for test in case.get("alert_rule_test", ()):
            (fires if test["exp_alerts"] else is_quiet).add(test["alertname"])
        for test in case.get("promql_expr_test", ()):
            for name in re.findall(r'alertname="(\w+)"', test["expr"]):
                (fires if test["exp_samples"] else is_quiet).add(name)
                # A case with other series for which it must not fire.
                if test["exp_samples"] and len(case["input_series"]) > 1:
                    is_quiet.add(name)
    names = {alert["alert"] for alert in ALERTS}
    assert fires == names
    assert is_quiet == names


def test_only_success_and_errors_of_the_requester_do_not_count_as_failures() -> None:
    texts = [rule["expr"] for rule in rules()]
    texts += [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    patterns = {found for text in texts for found in re.findall(r'outcome!~"([^"]*)"', text)}
    blameless = {code for code, error in REGISTRY.items() if error.blame == "requester"}
    assert [set(pattern.split("|")) for pattern in patterns] == [blameless | {"success", "requester_gone"}]


def test_the_outcomes_that_queries_name_exist() -> None:
    named = {
        found for rule in rules() for found in re.findall(r'(taskferry_\w+)\{outcome="(\w+)"', rule["expr"])
    }
    assert len(named) > 1
    for metric, outcome in named:
        assert outcome in ({"refused"} if metric == "taskferry_logins_total" else REGISTRY), metric
