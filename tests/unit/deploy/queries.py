"""The PromQL in deploy/, and which metrics and labels it names."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.unit.deploy.deployment import DEPLOY, read_yaml

NOT_METRICS: Final = frozenset({"and", "or", "unless", "group_left", "group_right", "bool"})
GIVEN_BY_PROMETHEUS: Final = frozenset({"up", "ALERTS"})
LABELS_OF_A_SCRAPE: Final = frozenset(
    {"job", "instance", "namespace", "service", "le", "worker_deployment", "alertname", "alertstate"}
)
"""Labels that the broker does not set: those of the scrape, of histograms, of the chart's ServiceMonitor."""


@dataclass(frozen=True)
class Query:
    """One expression: where it is, the metrics that it names, for each the labels that it selects by, and as `grouping`
    the labels in by, without, on and ignoring."""

    where: str
    text: str
    selected: dict[str, set[str]]
    grouping: set[str]


def parse(where: str, text: str) -> Query:
    """`text` parsed: enough of PromQL for what is in deploy/."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    bare = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", "", bare)
    lists = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    selected: dict[str, set[str]] = {}
    for name, braces in re.findall(
        r"([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()(?:\{([^}]*)\})?", _no_braces_alone(bare)
    ):
        if name not in NOT_METRICS:
            selected.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))
    grouping = {label.strip() for names in lists for label in names.split(",") if label.strip()}
    return Query(where, text, selected, grouping)


def _no_braces_alone(text: str) -> str:
    assert not re.search(r"(?<![\w:])\{", text), f"a selector without a metric: {text}"
    return text


def rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    files = [DEPLOY / "prometheus" / f"{kind}_rules.yml" for kind in ("recording", "alert")]
    return [rule for file in files for group in read_yaml(file)["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """deploy/grafana/dashboard.json."""
    document: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    return document


def _texts() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']!r}", target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert query, variable["definition"]
            yield f"variable ${variable['name']}", f"sum by ({query[2]}) ({query[1]})"
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield f"annotation {annotation['name']!r}", annotation["expr"]
    adapter = read_yaml(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")
    for rule in adapter["rules"]["external"]:
        yield "prometheus-adapter.yaml", rule["seriesQuery"]


def queries() -> list[Query]:
    """Every expression of deploy/."""
    return [parse(where, text) for where, text in _texts()]
