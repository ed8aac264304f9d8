"""The Grafana dashboard: complete, without overlapping panels, and every query uses the selected data source."""

import itertools
import re

from tests.unit.deploy.deployment import DEPLOY, read_yaml
from tests.unit.deploy.queries import dashboard

BOARD = dashboard()
PANELS = BOARD["panels"]


def test_it_is_for_a_current_grafana_and_has_no_foreign_identity() -> None:
    assert BOARD["schemaVersion"] >= 41  # Grafana 12
    assert BOARD["uid"] == "taskferry"
    assert "id" not in BOARD


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [(panel["title"], panel["gridPos"]) for panel in PANELS]
    for title, place in places:
        assert place["x"] >= 0, title
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} overlaps {other}"


def test_the_rows_are_there() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == [
        "Overview", "Latency by command", "Outcomes", "Workers", "Health", "Network", "Access",
        "Jobs", "Process",
    ]  # fmt: skip


def test_every_panel_uses_the_selected_data_source_and_has_a_unit() -> None:
    for panel in PANELS:
        if panel["type"] == "row":
            continue
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
            assert "$instance" in target["expr"], panel["title"]
        if panel["type"] != "heatmap":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_the_variables_that_queries_use_exist() -> None:
    own = {variable["name"] for variable in BOARD["templating"]["list"]}
    text = str(PANELS) + str(BOARD["templating"])
    used = set(re.findall(r"\$\{?([a-z]\w*)\}?", text))
    assert used == own


def test_the_provisioning_finds_it() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = read_yaml(folder / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = read_yaml(folder / "dashboards" / "taskferry.yaml")["providers"]
    mounts = read_yaml(DEPLOY / "docker" / "compose.yaml")["services"]["grafana"]["volumes"]
    assert any(mount.split(":")[1].startswith(provider["options"]["path"] + "/") for mount in mounts)
