"""The image as far as it can be tested without an engine: hadolint checks the Dockerfile, its packages install and run,
its health check detects a broker, and compose.yaml fits the compose specification."""

import json
import subprocess
import venv
from pathlib import Path

import pytest

from tests.deploy.tools import run
from tests.processes import Broker, Program, Programs
from tests.unit.deploy.deployment import DEPLOY, read_yaml
from tests.unit.deploy.test_compose import SERVICES
from tests.unit.deploy.test_image import REQUIREMENTS, arguments
from tests.unit.layout.source_tree import ROOT, package_roots

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"


def test_hadolint_reports_nothing() -> None:
    assert run("hadolint", DOCKERFILE) == ""


def test_hadolint_would_report_an_error(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text("FROM python\nRUN cd /tmp && pip install click\n")
    said = run("hadolint", worse, is_successful=False)
    assert "DL3006" in said  # no tag
    assert "DL3013" in said  # no version


def test_the_build_installs_everything_that_it_needs_to_run(tmp_path: Path) -> None:
    # The steps of the first stage, with a folder of the copied files as its context and this Python as its base.
    source = tmp_path / "source"
    source.mkdir()
    for name in (*package_roots(), "namespace", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    pip = (str(environment / "bin" / "python"), "-m", "pip")
    install = (*pip, "install", "--quiet")
    for step in (
        (*install, "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)),
        (*install, "--no-deps", str(source)),
        (*pip, "check"),
    ):
        subprocess.run(step, check=True, timeout=240)
    with Program(tmp_path, "broker", "--help", executable=str(environment / "bin" / "taskferry")) as program:
        assert program.wait() == 0
        assert "--requester-port" in program.stdout


def test_the_health_check_detects_a_broker(programs: Programs) -> None:
    def is_healthy(port: int) -> bool:
        check = [part.replace(":8767/", f":{port}/") for part in command]
        return programs.start(*check).wait() == 0

    command = json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])[1:]
    broker: Broker = programs.start_broker("--grace", "0")
    port = int(broker.http_url.rpartition(":")[2])
    assert is_healthy(port)
    broker.terminate()
    broker.wait()
    assert not is_healthy(port)


def test_the_workers_health_check_finds_its_own_worker(programs: Programs) -> None:
    broker = programs.start_broker()
    text = SERVICES["worker"]["healthcheck"]["test"][3].replace("http://broker:8767", broker.http_url)
    assert programs.start("-c", text).wait() == 1
    worker = programs.start("-m", "taskferry.worker", "--broker", broker.worker_url)
    worker.wait_for_stderr("connected")
    assert programs.start("-c", text).wait() == 0


def test_the_traffic_goes_through(programs: Programs) -> None:
    broker = programs.start_broker()
    worker = programs.start("-m", "taskferry.worker", "--broker", broker.worker_url)
    worker.wait_for_stderr("connected")
    script, url, rate = "examples/steady_traffic.py", broker.requester_url, "100"
    traffic = programs.start(str(ROOT / script), url, "--rate", rate, "--seconds", "1")
    assert traffic.wait() == 0
    assert traffic.stdout == "success 100\n"


def test_it_fits_the_compose_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="make test-deploy installs it")
    # Via JSON: merge keys (<<) are YAML's own, resolved by its parser.
    document = read_yaml(DEPLOY / "docker" / "compose.yaml")
    for complete in (document, read_yaml(DEPLOY / "docker" / "compose.access.yaml")):
        compose_spec.PyCompose.from_json(json.dumps(complete)).validate()
    document["services"]["broker"]["stop_grace"] = "15s"
    misspelt = json.dumps(document)
    with pytest.raises(ValueError, match="stop_grace"):
        compose_spec.PyCompose.from_json(misspelt)
