"""compose.yaml: what it starts exists, is pinned, cannot be reached from outside, and gets time to drain."""

import ast
import re
from typing import Any

import pytest
from taskferry.broker.access.hosts import Hosts

from tests.unit.deploy.deployment import DEPLOY, parsed, read_yaml

FOLDER = DEPLOY / "docker"
SERVICES: dict[str, dict[str, Any]] = read_yaml(FOLDER / "compose.yaml")["services"]
WITH_ACCESS = read_yaml(FOLDER / "compose.access.yaml")
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "taskferry:local"}


def test_it_starts_a_broker_three_workers_traffic_prometheus_and_grafana() -> None:
    assert set(SERVICES) == {"broker", "worker", "traffic", "prometheus", "grafana"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 3


def test_third_party_images_are_pinned_to_a_release() -> None:
    for name in set(SERVICES) - set(OURS):
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"]), name


def test_ports_are_published_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 6
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_mounted_file_exists() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists(), source


def test_jobs_are_on_a_volume_of_the_broker_alone() -> None:
    (journal,) = re.findall(r"TASKFERRY_BROKER_JOURNAL=(\S+)", (FOLDER / "Dockerfile").read_text())
    (volume,) = SERVICES["broker"]["volumes"]
    name, _, folder = volume.partition(":")
    assert journal.startswith(f"{folder}/")
    assert name in read_yaml(FOLDER / "compose.yaml")["volumes"]
    others = [str(service.get("volumes")) for key, service in SERVICES.items() if key != "broker"]
    assert not any(volume in mounted for mounted in others)


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


@pytest.mark.parametrize("services", [SERVICES, WITH_ACCESS["services"]], ids=["open", "with access"])
def test_the_workers_health_check_is_valid_python(services: dict[str, dict[str, Any]]) -> None:
    kind, program, option, text = services["worker"]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    ast.parse(text)


def test_the_name_by_which_the_others_address_the_broker_is_allowed() -> None:
    for services in (SERVICES, WITH_ACCESS["services"]):
        hosts = Hosts(parsed(services["broker"]["command"])["allowed_hosts"], (), ())
        for url in re.findall(r"\w+://(broker:\d+)", str(services)):
            assert hosts.host_refusal(url) is None


def test_with_access_every_service_of_ours_is_changed_and_has_the_secrets_that_it_reads() -> None:
    changed = WITH_ACCESS["services"]
    assert set(changed) == {*OURS, "prometheus"}
    for name, service in changed.items():
        text = str(service) + (FOLDER / "prometheus.access.yml").read_text() * (name == "prometheus")
        assert set(re.findall(r"/run/secrets/([\w.]+\w)", text)) == set(service["secrets"]), name
        assert set(service["secrets"]) <= set(WITH_ACCESS["secrets"])
    for name in ("broker", "worker"):
        assert parsed(changed[name]["command"])["grace"] == parsed(SERVICES[name]["command"])["grace"]


def test_prometheus_with_access_differs_in_its_token_alone() -> None:
    here, there = (read_yaml(FOLDER / name) for name in ("prometheus.access.yml", "prometheus.yml"))
    assert here["scrape_configs"][0].pop("authorization")
    assert here == there
