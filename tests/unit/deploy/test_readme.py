"""deploy/README.md links every folder, and its commands name files and values that exist."""

import re

from tests.unit.deploy.deployment import DEPLOY, read_yaml
from tests.unit.layout.source_tree import ROOT

TEXT = (DEPLOY / "README.md").read_text(encoding="utf-8")
LINKS = set(re.findall(r"\]\(([^)#]+)\)", TEXT))


def test_each_folder_is_linked_and_each_link_has_a_target() -> None:
    assert {f"{folder.name}/" for folder in DEPLOY.iterdir() if folder.is_dir()} <= LINKS
    assert all((DEPLOY / link).exists() for link in LINKS)


def test_each_file_of_its_commands_exists() -> None:
    files = set(re.findall(r"\bdeploy/[\w./*-]+\w", TEXT))
    assert len(files) > 5
    for file in files:
        assert list(ROOT.glob(file)), file


def test_each_value_of_the_chart_that_it_names_exists() -> None:
    values = read_yaml(DEPLOY / "kubernetes" / "taskferry" / "values.yaml")
    named = re.findall(r"\b((?:image|broker|worker|serviceMonitor)\.[a-zA-Z]+)\b(?!\.)", TEXT)
    assert len(named) > 4
    for name in set(named) - {"broker.toml", "worker.env", "worker.token", "broker.example"}:
        group, _, key = name.partition(".")
        assert key in values[group], name


def test_the_base_image_that_it_names_is_that_of_the_dockerfile() -> None:
    (named,) = set(re.findall(r"python:[\w.-]+\w", TEXT))
    assert f"FROM {named}\n" in (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
