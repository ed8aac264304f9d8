"""The Dockerfile, checked for what hadolint cannot know of this project: what it copies, pins, and runs as."""

import ast
import json
import re
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from taskferry.broker.settings import BrokerSettings

from tests.unit.deploy.deployment import DEPLOY, variables_of
from tests.unit.layout.source_tree import ROOT, package_roots, pyproject

TEXT = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    (word, " ".join(rest.split()))
    for word, rest in re.findall(
        r"^([A-Z]+)((?:.*\\\n)*.*)$", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE), re.MULTILINE
    )
]
REQUIREMENTS = DEPLOY / "docker" / "requirements.txt"


def arguments(word: str) -> list[str]:
    return [rest.replace("\\ ", "") for instruction, rest in INSTRUCTIONS if instruction == word]


def test_its_two_stages_have_the_same_base_pinned_to_a_release() -> None:
    bases = [base.partition(" ")[0] for base in arguments("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


def test_it_runs_as_an_unprivileged_user() -> None:
    assert arguments("USER") == ["10001:10001"]
    last_copy = max(n for n, (word, _) in enumerate(INSTRUCTIONS) if word == "COPY")
    assert last_copy < [word for word, _ in INSTRUCTIONS].index("USER")


def test_it_copies_the_whole_package_and_no_ignored_file() -> None:
    copied = {source for rest in arguments("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    assert copied >= set(package_roots())
    assert all((ROOT / source).exists() for source in copied)
    ignore = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_its_ports_and_variables_are_the_brokers() -> None:
    defaults = BrokerSettings()
    numbers = (defaults.worker_port, defaults.requester_port, defaults.http_port, defaults.api_port)
    ports = {str(port) for port in numbers}
    assert set(arguments("EXPOSE")[0].split()) == ports
    named = set(re.findall(r"\b(TASKFERRY_\w+)=", " ".join(arguments("ENV"))))
    assert named
    assert named <= variables_of("broker")


def test_its_user_owns_the_folder_of_the_journal() -> None:
    (folder,) = re.findall(r"TASKFERRY_BROKER_JOURNAL=(\S+)/", " ".join(arguments("ENV")))
    user, _, group = arguments("USER")[0].partition(":")
    made = f"install --directory --owner {user} --group {group} --mode 0700 {folder}"
    assert any(made in step for step in arguments("RUN"))


def test_its_health_check_needs_only_python() -> None:
    (check,) = arguments("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    ast.parse(command[2])


def test_its_requirements_pin_every_dependency_to_one_release_that_pyproject_accepts() -> None:
    lines = [
        line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", line) for line in lines)
    pins = dict(line.split("==") for line in lines)
    for requirement in map(Requirement, pyproject()["project"]["dependencies"]):
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(pins[name]), name
    assert set(pins) >= _closure("taskferry") - {"taskferry"}


def _closure(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """`name` and all its dependencies here, recursively."""
    found: set[str] = {canonicalize_name(name)}
    for requirement in map(Requirement, distribution(name).requires or ()):
        is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_needed and canonicalize_name(requirement.name) not in seen:
            found |= _closure(requirement.name, seen | found)
    return found
