"""compose.yaml: what it starts exists, is pinned, cannot be reached from outside, and gets time to drain."""

import ast
import re
from typing import Any

from tests.unit.deploy.deployment import DEPLOY, parsed, read_yaml

FOLDER = DEPLOY / "docker"
SERVICES: dict[str, dict[str, Any]] = read_yaml(FOLDER / "compose.yaml")["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "taskferry:local"}


def test_it_starts_a_broker_three_workers_traffic_prometheus_and_grafana() -> None:
    assert set(SERVICES) == {"broker", "worker", "traffic", "prometheus", "grafana"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 3


def test_third_party_images_are_pinned_to_a_release() -> None:
    for name in set(SERVICES) - set(OURS):
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"]), name


def test_ports_are_published_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_mounted_file_exists() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists(), source


def test_prometheus_gets_every_file_that_its_configuration_names() -> None:
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]}
    for name in read_yaml(FOLDER / "prometheus.yml")["rule_files"]:
        assert f"/etc/prometheus/{name}" in mounted


def test_prometheus_has_the_usual_configuration_except_address_and_interval() -> None:
    here, there = read_yaml(FOLDER / "prometheus.yml"), read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    del here["global"], there["global"]
    for configuration in (here, there):
        (scrape,) = configuration["scrape_configs"]
        (static,) = scrape["static_configs"]
        assert len(static.pop("targets")) == 1
    assert here == there


def test_the_programs_have_their_options_and_get_longer_than_they_need_to_drain() -> None:
    for name in ("broker", "worker"):
        grace_s = parsed(SERVICES[name]["command"])["grace"]
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= grace_s + 5


def test_our_containers_have_no_privileges_that_they_do_not_need() -> None:
    assert set(OURS) == {"broker", "worker", "traffic"}
    for service in OURS.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_workers_health_check_is_valid_python() -> None:
    kind, program, option, text = SERVICES["worker"]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    ast.parse(text)
