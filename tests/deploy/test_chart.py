"""Helm lints and renders the chart; Kubernetes accepts the rendered objects, they are consistent, and they start
programs with options that exist."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from taskferry.broker.access.hosts import Hosts
from taskferry.broker.settings import BROKER, BrokerSettings
from taskferry.configuration.sources import Sources

from tests.deploy.tools import run
from tests.unit.deploy.deployment import DEPLOY, parsed, read_yaml
from tests.unit.deploy.test_chart import CHART, VALUES

helm = pytest.importorskip("helm_python", reason="make test-deploy installs it")
kubernetes = pytest.importorskip("kubernetes_validate", reason="make test-deploy installs it")

KUBERNETES: Final = ("1.29", "1.37")
"""Releases whose schemas validate the objects: an old one that is still in use, and a current one."""
OPERATOR_KINDS: Final = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator: the schemas do not have them."""
EVERYTHING: Final[dict[str, Any]] = {
    "imagePullSecrets": ["registry"],
    "broker": {
        "settings": {
            "timeout": 12.5,
            "queue_count_max": 200000,
            "allowed_hosts": ["broker.example.com"],
            "strategies": {"image-*": "latency_aware"},
        },
        "accessSecret": "access",
        "journal": {"size": "100Gi", "storageClass": "fast"},
        "tls": {"secret": "certificate", "clientCertificates": True},
        "service": {"annotations": {"a": "b"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
    },
    "worker": {
        "module": "tasks:worker",
        "tokenSecret": "worker-token",
        "caSecret": "authority",
        "image": {"repository": "registry.example.com/tasks", "tag": "7"},
        "labels": {"gpu": True, "zone": 1},
        "canary": "ping",
        "environment": [{"name": "LEVEL", "value": "3"}],
        "environmentSecrets": ["database"],
        "autoscaling": {"enabled": True, "queueSelector": {"command": "resize"}},
        "nodeSelector": {"gpu": "yes"},
    },
    "networkPolicy": {
        "workersFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "brokerEgress": [{"to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]}],
        "workerEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
    },
    "serviceMonitor": {
        "enabled": True,
        "labels": {"release": "stack"},
        "tokenSecret": "observer-token",
        "caSecret": "authority",
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "stack"}},
}
SECRETS: Final = {
    "broker": {
        "--access": ("access", "access.toml"),
        "--tls-certificate": ("certificate", "tls.crt"),
        "--tls-key": ("certificate", "tls.key"),
        "--tls-client-ca": ("certificate", "ca.crt"),
    },
    "worker": {"--token-file": ("worker-token", "token"), "--ca": ("authority", "ca.crt")},
}
"""For each option of EVERYTHING that names a file: its Secret, and the key there."""
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "broker alone": {"worker": {"enabled": False}},
    "workers alone": {"broker": {"enabled": False}, "worker": {"broker": "wss://broker.example.com/worker"}},
    "no policy": {"networkPolicy": {"enabled": False}},
    "no jobs": {"broker": {"journal": {"enabled": False}}},
}


def rendered(values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of a release `demo` by kind and name."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="demo", namespace="prod")
    objects: dict[tuple[str, str], dict[str, Any]] = {}
    for path, text in texts.items():
        for document in yaml.safe_load_all(text) if path.endswith(".yaml") else ():
            if document is not None:
                key = (document["kind"], document["metadata"]["name"])
                assert key not in objects
                objects[key] = document
    return objects


def pod(objects: dict[tuple[str, str], dict[str, Any]], role: str) -> dict[str, Any]:
    template: dict[str, Any] = workload(objects, role)["spec"]["template"]
    return template


def workload(objects: dict[tuple[str, str], dict[str, Any]], role: str) -> dict[str, Any]:
    """The object that starts the pods of a role."""
    kinds = ("Deployment", "StatefulSet")
    (found,) = (objects[key] for kind in kinds if (key := (kind, f"demo-taskferry-{role}")) in objects)
    return found


def arguments(template: dict[str, Any]) -> list[str]:
    (container,) = template["spec"]["containers"]
    found: list[str] = container["args"]
    return found


def test_helm_reports_only_the_missing_icon() -> None:
    found = helm.lint(str(CHART))
    assert found["errors"] == []
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("release", KUBERNETES)
@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_kubernetes_accepts_every_object(values: dict[str, Any], release: str) -> None:
    objects = rendered(values)
    assert objects
    for (kind, _), document in objects.items():
        if kind not in OPERATOR_KINDS:
            kubernetes.validate(document, release, strict=True)


def test_kubernetes_would_refuse_a_misspelt_field() -> None:
    document = workload(rendered({}), "broker")
    document["spec"]["template"]["spec"]["terminationGraceSeconds"] = 5
    with pytest.raises(kubernetes.ValidationError, match="terminationGraceSeconds"):
        kubernetes.validate(document, KUBERNETES[1], strict=True)


def test_each_variant_has_exactly_what_it_selects() -> None:
    kinds = {name: sorted(kind for kind, _ in rendered(values)) for name, values in VARIANTS.items()}
    base = ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"]
    assert kinds["broker alone"] == base
    assert kinds["workers alone"] == ["Deployment", "NetworkPolicy", "PodDisruptionBudget"]
    assert kinds["defaults"] == sorted([*base, *kinds["workers alone"]])
    assert kinds["no policy"] == [kind for kind in kinds["defaults"] if kind != "NetworkPolicy"]
    assert kinds["no jobs"] == sorted(["Deployment", *kinds["defaults"][:-1]])
    extra = ["HorizontalPodAutoscaler", "PrometheusRule", "ServiceMonitor"]
    assert kinds["everything"] == sorted([*kinds["defaults"], *extra])


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("role", ["broker", "worker"])
def test_the_program_has_its_options_and_gets_longer_than_it_needs_to_drain(
    values: dict[str, Any], role: str
) -> None:
    template = pod(rendered(values), role)
    given = [word for word in arguments(template) if not word.startswith("--name=$")]
    options = parsed(given)
    assert template["spec"]["terminationGracePeriodSeconds"] >= options["grace"] + 5


def test_a_broker_accepts_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(rendered(EVERYTHING)["ConfigMap", "demo-taskferry-broker"]["data"]["broker.toml"])
    settings = Sources((BROKER,), path).read().settings(BROKER)
    assert (settings.timeout_s, settings.queue_count_max) == (12.5, 200000)
    assert settings.strategies == {"image-*": "latency_aware"}
    assert "broker.example.com" in settings.allowed_hosts


def test_a_broker_is_addressed_by_its_services_names(tmp_path: Path) -> None:
    objects = rendered({})
    path = tmp_path / "broker.toml"
    path.write_text(objects["ConfigMap", "demo-taskferry-broker"]["data"]["broker.toml"])
    allowed = Sources((BROKER,), path).read().settings(BROKER).allowed_hosts
    name = "demo-taskferry-broker"
    assert allowed == (name, f"{name}.prod", f"{name}.prod.svc", f"{name}.prod.svc.cluster.local")
    hosts = Hosts(allowed, (), ())
    url = next(word for word in arguments(pod(objects, "worker")) if word.startswith("--broker="))
    assert hosts.host_refusal(url.rpartition("//")[2]) is None


@pytest.mark.parametrize("role", ["broker", "worker"])
def test_every_file_of_an_option_is_in_a_mounted_secret(role: str) -> None:
    spec = pod(rendered(EVERYTHING), role)["spec"]
    (container,) = spec["containers"]
    secrets = {
        volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume
    }
    folders = {mount["mountPath"]: secrets.get(mount["name"]) for mount in container["volumeMounts"]}
    found = {
        option: (folders[folder], file)
        for option, folder, file in re.findall(
            r"(--[a-z-]+)=(/etc/taskferry-\w+)/(\S+)", "\n".join(container["args"])
        )
    }
    assert found == SECRETS[role]
    assert not pod(rendered({}), role)["spec"]["volumes"][0].get("secret")


def test_jobs_are_kept_on_a_volume_that_no_two_brokers_can_have() -> None:
    broker = workload(rendered(EVERYTHING), "broker")
    assert broker["kind"] == "StatefulSet"  # starts no pod while the one before may still run
    assert broker["spec"]["replicas"] == 1
    (claim,) = broker["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "100Gi"}},
    }
    spec = broker["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    mount = mounts[claim["metadata"]["name"]]
    assert not mount.get("readOnly")
    assert f"--journal={mount['mountPath']}/journal.db" in arguments(broker["spec"]["template"])
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]  # it may write there


def test_without_a_volume_there_are_no_jobs_instead_of_jobs_that_are_lost() -> None:
    broker = workload(rendered(VARIANTS["no jobs"]), "broker")
    assert broker["spec"]["strategy"] == {"type": "Recreate"}
    assert "--journal=none" in arguments(broker["spec"]["template"])


def test_with_tls_probes_workers_and_prometheus_speak_it() -> None:
    objects = rendered(EVERYTHING)
    (container,) = pod(objects, "broker")["spec"]["containers"]
    assert {
        container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "liveness", "readiness")
    } == {"HTTPS"}
    name = "demo-taskferry-broker.prod.svc"
    assert f"--broker=wss://{name}:8765" in arguments(pod(objects, "worker"))
    (endpoint,) = objects["ServiceMonitor", "demo-taskferry-broker"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {
        "serverName": name, "ca": {"secret": {"name": "authority", "key": "ca.crt"}},
    }  # fmt: skip
    assert endpoint["authorization"] == {"credentials": {"name": "observer-token", "key": "token"}}


def test_a_changed_setting_restarts_the_broker() -> None:
    name = "checksum/settings"
    before, after = (
        pod(rendered({"broker": {"settings": settings}}), "broker")["metadata"]["annotations"][name]
        for settings in ({}, {"timeout": 5})
    )
    assert before != after


@pytest.mark.parametrize("role", ["broker", "worker"])
def test_every_selector_finds_its_pods(role: str) -> None:
    objects = rendered(EVERYTHING)
    labels = pod(objects, role)["metadata"]["labels"].items()
    name = f"demo-taskferry-{role}"
    selectors = [
        workload(objects, role)["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", name]["spec"]["podSelector"]["matchLabels"],
    ]
    if role == "broker":
        selectors.append(objects["Service", name]["spec"]["selector"])
    for selector in selectors:
        assert selector.items() <= labels
        assert selector["app.kubernetes.io/component"] == role


def test_ports_are_the_brokers_own_and_probes_use_paths_that_it_answers() -> None:
    objects = rendered({})
    (container,) = pod(objects, "broker")["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    defaults = BrokerSettings()
    assert ports == {
        "worker": defaults.worker_port, "requester": defaults.requester_port, "http": defaults.http_port,
        "api": defaults.api_port,
    }  # fmt: skip
    for port in objects["Service", "demo-taskferry-broker"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz",
    }  # fmt: skip
    url = next(word for word in arguments(pod(objects, "worker")) if word.startswith("--broker="))
    assert url == f"--broker=ws://demo-taskferry-broker.prod.svc:{defaults.worker_port}"


def test_the_policy_lets_workers_and_prometheus_reach_only_their_ports() -> None:
    objects = rendered({})
    rules = objects["NetworkPolicy", "demo-taskferry-broker"]["spec"]["ingress"]
    peers = {rule["ports"][0]["port"]: rule["from"] for rule in rules}
    assert set(peers) == {"worker", "requester", "http"}
    (worker,) = peers["worker"]
    assert (
        worker["podSelector"]["matchLabels"].items() <= pod(objects, "worker")["metadata"]["labels"].items()
    )
    assert peers["http"] == VALUES["networkPolicy"]["httpFrom"]


def test_the_autoscaler_uses_metrics_of_the_adapter_and_labels_of_the_scrape() -> None:
    objects = rendered(EVERYTHING)
    scaler = objects["HorizontalPodAutoscaler", "demo-taskferry-worker"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == "demo-taskferry-worker"
    assert "replicas" not in objects["Deployment", "demo-taskferry-worker"]["spec"]
    asked = {metric["external"]["metric"]["name"]: metric["external"]["metric"]["selector"]["matchLabels"]
             for metric in scaler["metrics"]}  # fmt: skip
    rules = read_yaml(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")["rules"]["external"]
    assert set(asked) == {rule["seriesQuery"].partition("{")[0] for rule in rules}
    assert asked["taskferry_queue_depth"] == {"service": "demo-taskferry-broker", "command": "resize"}
    (endpoint,) = objects["ServiceMonitor", "demo-taskferry-broker"]["spec"]["endpoints"]
    (relabeling,) = endpoint["metricRelabelings"]
    assert set(asked["taskferry_worker_in_flight"]) == {relabeling["targetLabel"]}


def test_a_workers_deployment_is_found_in_its_name() -> None:
    objects = rendered(EVERYTHING)
    (endpoint,) = objects["ServiceMonitor", "demo-taskferry-broker"]["spec"]["endpoints"]
    pattern = endpoint["metricRelabelings"][0]["regex"]
    found = re.fullmatch(pattern, "demo-taskferry-worker-6d4cf56db6-x7k2p")
    assert found
    assert found[1] == "demo-taskferry-worker"
    assert "--name=$(POD_NAME)" in arguments(pod(objects, "worker"))


def test_the_operators_rules_are_valid(tmp_path: Path) -> None:
    rule = rendered(EVERYTHING)["PrometheusRule", "demo-taskferry"]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}))
    said = run("promtool", "check", "rules", file)
    count = sum(len(group["rules"]) for group in rule["spec"]["groups"])
    assert f"SUCCESS: {count} rules found" in said


def test_nothing_runs_with_more_privileges_than_it_needs() -> None:
    for role in ("broker", "worker"):
        spec = pod(rendered(EVERYTHING), role)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"worker": {"concurency": 5}}, "concurency"),
        ({"worker": {"concurrency": 0}}, "concurrency"),
        ({"brokers": {}}, "brokers"),
        ({"broker": {"journal": {"size": "large"}}}, "size"),
        ({"broker": {"enabled": False}}, "worker.broker is needed"),
    ],
)
def test_wrong_values_are_reported(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmError, match=said):
        rendered(values)
