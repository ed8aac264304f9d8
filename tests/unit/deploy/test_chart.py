"""The Helm chart, without Helm: values, their schema and the templates that use them agree."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.unit.deploy.deployment import DEPLOY, read_yaml
from tests.unit.layout.source_tree import pyproject

CHART = DEPLOY / "kubernetes" / "taskferry"
VALUES = read_yaml(CHART / "values.yaml")
TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()}


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """`broker.service.type` and the like, including the maps in between."""
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


def schema_paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, inner in schema.get("properties", {}).items():
        yield prefix + key
        yield from schema_paths(inner, f"{prefix}{key}.")


def test_its_version_is_the_version_that_it_deploys() -> None:
    assert read_yaml(CHART / "Chart.yaml")["appVersion"] == pyproject()["project"]["version"]


def test_the_schema_has_each_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    known = set(schema_paths(schema)) - {"global"}  # Helm itself puts `global` there
    # Maps that are passed on unchanged may hold anything; their defaults are not in the schema.
    passed_on = {"resources", "requestersFrom", "httpFrom"}
    given = {path for path in paths(VALUES) if not passed_on & set(path.split(".")[:-1])}
    assert given == known
    assert schema["additionalProperties"] is False
    assert schema["properties"]["broker"]["additionalProperties"] is False


def test_the_templates_use_each_value_and_no_other() -> None:
    text = "\n".join(TEMPLATES.values())
    used = set(re.findall(r"\.Values\.([\w.]*\w)", text))
    known = set(paths(VALUES))
    assert used - known == {"broker.settings.strategies", "broker.settings.allowed_hosts"}
    # A template gets all of these two.
    used |= {
        f"{role}.{part}"
        for role in ("broker", "worker")
        for part in ("nodeSelector", "tolerations", "affinity")
    }
    leaves = {path for path in known if not any(other.startswith(path + ".") for other in known)}
    unused = {path for path in leaves if not any(path == use or path.startswith(use + ".") for use in used)}
    assert unused == set()


def test_each_value_is_explained() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    assert text.count("#") > len(list(paths(VALUES))) / 3


def test_the_rules_are_those_of_the_prometheus_folder() -> None:
    for name in ("recording_rules.yml", "alert_rules.yml"):
        assert (CHART / "rules" / name).resolve() == DEPLOY / "prometheus" / name
