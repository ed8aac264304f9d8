"""Every section of `make bench` runs, very short: its times are not checked."""

import math
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.contenders import contenders
from benchmarks.page import page
from benchmarks.results import Results, Row, SectionResults, from_text, to_text
from benchmarks.sections.all import BY_NAME, SECTIONS
from benchmarks.targets import TARGETS, Reading
from tests.unit.layout.source_tree import ROOT

TIMEOUT_S = 50.0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def quick(section: str, folder: Path) -> Results:
    json = folder / "results.json"
    done = run("--quick", "--rounds", "1", "--only", section, "--json", str(json))
    assert done.returncode == 0, done.stderr
    assert f"## {BY_NAME[section].title}" in done.stdout
    return from_text(json.read_bytes())


def readings() -> list[Reading]:
    bases = [target.base for target in TARGETS if target.base is not None]
    return [target.reading for target in TARGETS] + bases


def check(section: str, results: Results, folder: Path) -> None:
    """The figures are numbers, the targets find theirs among them, and all can be shown and drawn."""
    rows = results[section].rows
    values = [value for row in rows for rounds in row.figures.values() for value in rounds]
    assert values
    assert all(math.isfinite(value) for value in values)
    for reading in readings():
        if reading.section == section:
            alike = [row for row in rows if row.case.keys() == reading.case.keys()]
            assert any(reading.figure in row.figures for row in alike), reading
    assert f"## {BY_NAME[section].title}" in page(results)
    if find_spec("matplotlib") is not None:
        from benchmarks.pictures import draw

        draw(BY_NAME[section], results[section], folder / "picture.png")
        assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("section", [section.name for section in SECTIONS if section.name != "cost"])
def test_a_section_runs_and_is_shown(section: str, tmp_path: Path) -> None:
    check(section, quick(section, tmp_path), tmp_path)


def test_every_installed_broker_runs_under_the_same_load(tmp_path: Path) -> None:
    results = quick("cost", tmp_path)
    check("cost", results, tmp_path)
    names = [one.name for one in contenders()]
    assert {"taskferry", "tcp floor", "websockets floor"} <= set(names)
    assert names == [
        row.case["broker"] for row in results["cost"].rows if row.case["load"] == "saturated-joined"
    ]


def test_it_renders_the_page_from_a_file_without_measuring(tmp_path: Path) -> None:
    results: Results = {
        "start-up": SectionResults({}, [Row({"program": "python -c pass"}, {"wall_ms": [7.25]})])
    }
    (tmp_path / "results.json").write_text(to_text(results))
    done = run("--render", "--merge", str(tmp_path / "results.json"), "--docs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "| python -c pass |" in done.stdout
    assert (tmp_path / "benchmarks.md").read_text() == page(results)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--render", "--merge", "{folder}/none.json"), r"^benchmarks: .*none\.json: No such file"),
        (
            ("--render", "--merge", "{folder}/other.json"),
            r"^benchmarks: .*other\.json: no results of benchmarks",
        ),
        (
            ("--render", "--merge", "{folder}/cookery.json"),
            r"^benchmarks: .*cookery\.json: no section is called 'cookery'",
        ),
        (("--only", "start-up", "--broker-python", "{folder}/none"), r"^benchmarks: .*none does not start"),
    ],
)
def test_an_error_is_one_clear_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "cookery.json").write_text(to_text({"cookery": SectionResults({}, [])}))
    done = run(*(argument.replace("{folder}", str(tmp_path)) for argument in arguments))
    assert done.returncode == 1
    assert re.search(said, done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_sections_are_named_with_spaces_or_commas_between_them(tmp_path: Path) -> None:
    json = tmp_path / "results.json"
    names = ("--only", "start-up,gather", "streams", "--json", str(json))
    done = run("--quick", "--rounds", "1", *names)
    assert done.returncode == 0, done.stderr
    assert set(from_text(json.read_bytes())) == {"start-up", "gather", "streams"}


@pytest.mark.parametrize(
    "arguments",
    [("--rounds", "0"), ("--only", "nonsense"), ("--only", "idle,nonsense"), ("--loads", "nonsense")],
)
def test_options_out_of_bounds_are_refused(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_broker_that_does_not_run_is_reported_and_the_figures_of_others_are_kept(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && echo out of order && exit 3\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o700)
    results = tmp_path / "results.json"
    earlier = SectionResults({}, [Row({"program": "python -c pass"}, {"wall_ms": [7.25]})])
    results.write_text(to_text({"start-up": earlier}))
    files = ("--merge", str(results), "--json", str(results), "--docs", str(tmp_path / "docs"))
    done = run("--quick", "--only", "idle", "--broker-python", str(python), *files)
    assert done.returncode == 1
    assert re.search(r"^benchmarks: idle: .*exit code 3: out of order$", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert from_text(results.read_bytes()) == {"start-up": earlier}
    assert not (tmp_path / "docs").exists()
