"""`python -m tests.mutants`: changes the rules of the broker one expression at a time, to see that a test fails.

mutmut makes the mutants and finds the tests that reach each; trial.py runs them. It needs modules in folders named as
they are imported, so each room is staged in `.cache/mutants/ROOM` as it would be installed. What is done stays there: a
run that was interrupted goes on where it stopped, and after a change only the mutants of what changed are tried again,
and those that survived.

`judged.toml` names each survivor that no test should kill, and why. The run fails if fewer than KILLED_MIN of a room's
mutants are killed, or if a survivor is not judged.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
STAGE: Final = ROOT / ".cache" / "mutants"
JUDGED: Final = Path(__file__).parent / "judged.toml"
KILLED_MIN: Final = 0.9
ROOMS: Final[Mapping[str, tuple[str, ...]]] = {
    "loadbalance": ("tests/unit/loadbalance",),
    "broker/access": ("tests/unit/broker/access",),
    "broker/core": ("tests/unit/broker/core",),
    "broker/jobs": ("tests/unit/broker/jobs",),
}
"""Folders of pure rules, and the tests that must notice when one of them changes."""
NAMED_ONLY: Final = frozenset({"broker/jobs"})
"""Rooms whose survivors are not all judged yet: they are tried if they are named, and judged by the share alone."""
SAMPLES: Final[Mapping[str, str]] = {
    "loadbalance": "taskferry.loadbalance.weight.*",
    "broker/access": "taskferry.broker.access.counts.*",
    "broker/core": "taskferry.broker.core.account.*",
    "broker/jobs": "taskferry.broker.jobs.orphans.*",
}
"""A few mutants of each, which mutmut itself tries once it has made all: see trial.py for the others."""
NOTICED: Final = ("killed", "timeout", "caught by type check", "segfault")
"""Verdicts of a mutant that a test run has noticed: one that never ends is one."""
LEFT_OUT: Final = (
    "tests/unit/broker/core/test_core_machine.py",
    "tests/unit/broker/jobs/test_jobs_machine.py",
    "tests/unit/loadbalance/test_strategy_cost.py",
)
"""Tests of a room that walk at random, which takes seconds a mutant and says little of what is wrong, or start
programs, which are not mutated."""

SETTINGS: Final = """
[tool.mutmut]
source_paths = ["taskferry"]
only_mutate = ["taskferry/{room}/*"]
also_copy = ["benchmarks"]
pytest_add_cli_args = ["-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = [{tests}]
track_dependencies = false
use_git_change_detection = false
timeout_multiplier = 4.0
timeout_constant = 1.5

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib"]
asyncio_default_fixture_loop_scope = "function"
asyncio_mode = "auto"
consider_namespace_packages = true
markers = ["alone", "uncovered: see tests/conftest.py"]
pythonpath = ["."]
"""
"""Of the staged room. A module is imported as in the wheel, and the editable installation stays unused."""

CONFTEST: Final = """
from hypothesis import Phase

settings.register_profile(
    "mutants", settings.get_profile("taskferry"), derandomize=True, database=None, print_blob=False,
    phases=[Phase.explicit, Phase.generate], max_examples=30,
)
settings.load_profile("mutants")
"""
"""Each run tries the same examples, so that a verdict can be repeated, and the first that fails is enough."""


def stage(room: str) -> Path:
    """Bring the copy of `room` up to date. Files that did not change keep their times, and so their mutants."""
    folder = STAGE / room.replace("/", "-")
    for marker in ROOT.glob("*/py.typed"):
        _sync(marker.parent, folder / "taskferry" / marker.parent.name, ("*.py", "*.so", "py.typed"))
    (folder / "taskferry" / "__init__.py").touch()
    _sync(ROOT / "benchmarks", folder / "benchmarks", ("*.py",))
    _sync(ROOT / "tests", folder / "tests", ("*.py", "*.json", "*.toml"))
    conftest = folder / "tests" / "conftest.py"
    _write(conftest, (ROOT / "tests" / "conftest.py").read_text() + CONFTEST)
    for left_out in LEFT_OUT:
        (folder / left_out).unlink(missing_ok=True)
    tests = ", ".join(f'"{path}"' for path in ROOMS[room])
    _write(folder / "pyproject.toml", SETTINGS.format(room=room, tests=tests))
    return folder


def _sync(source: Path, target: Path, patterns: Iterable[str]) -> None:
    wanted = {path.relative_to(source) for pattern in patterns for path in source.rglob(pattern)}
    wanted = {path for path in wanted if "__pycache__" not in path.parts}
    for path in list(target.rglob("*")):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    for path in wanted:
        copy = target / path
        if copy.exists() and copy.read_bytes() == (source / path).read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, copy)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def run(room: str, folder: Path, seconds: float, modules: str) -> None:
    """Make the mutants, and try for so long those that are not killed yet; only those of `modules`, if any are named,
    separated by commas. Raises SystemExit if the tests fail without a mutant."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    workers = str(max(1, os.cpu_count() or 1))
    make = [sys.executable, "-m", "mutmut", "run", "--max-children", workers, SAMPLES[room]]
    attempt = [sys.executable, "-m", "tests.mutants.trial", str(seconds), modules, *ROOMS[room]]
    for command, where in ((make, folder), (attempt, folder / "mutants")):
        done = subprocess.run(command, cwd=where, env=environment, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command[1:4])} ended with {done.returncode} in {where}")


def verdicts(folder: Path) -> dict[str, str]:
    """How each mutant of a room ended: `{"taskferry.loadbalance.urn.xǁUrnǁpick__mutmut_3": "killed", ...}`."""
    printed = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    pairs = (line.strip().rsplit(": ", 1) for line in printed.splitlines() if ": " in line)
    return {name: verdict for name, verdict in pairs if "__mutmut_" in name}


def shown(folder: Path, name: str) -> str:
    """What a mutant changes, as a diff."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def change(folder: Path, name: str) -> str:
    """What a mutant changes, in a form that lasts when its number does not: `module.function: before -> after`."""
    lines = shown(folder, name).splitlines()
    before, after = (
        " ".join(line[1:].strip() for line in lines if line[:1] == sign and line[:3] != sign * 3)
        for sign in "-+"
    )
    return f"{name.rpartition('__mutmut_')[0].replace('xǁ', '').replace('ǁ', '.')}: {before} -> {after}"


def report(room: str, folder: Path, judged: Mapping[str, str], modules: str) -> bool:
    """Print what is known of a room, or of some of its modules. Returns whether it holds."""
    found = {name: verdict for name, verdict in verdicts(folder).items() if is_of(name, modules)}
    tried = {name: verdict for name, verdict in found.items() if verdict != "not checked"}
    survivors = sorted(change(folder, name) for name, verdict in tried.items() if verdict not in NOTICED)
    unjudged = [survivor for survivor in survivors if survivor not in judged]
    killed = len(tried) - len(survivors)
    share = killed / len(tried) if tried else 0.0
    print(f"{room}: {killed} of {len(tried)} killed ({share:.1%}), {len(found) - len(tried)} not tried yet")
    for survivor in unjudged:
        print(f"  survived, and not judged: {survivor}")
    is_judged = not unjudged or room in NAMED_ONLY
    return len(tried) == len(found) and share >= KILLED_MIN and is_judged


def is_of(name: str, modules: str) -> bool:
    """Whether a mutant is of one of these modules, which are separated by commas; if none is named, it is."""
    return not modules or name.rpartition(".")[0].rpartition(".")[2] in modules.split(",")


def main() -> int:
    """Returns 1 if a room does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--no-run", action="store_true", help="only report what is known")
    parser.add_argument(
        "--seconds", type=float, default=7200.0, help="for each room; what is left stays for later"
    )
    parser.add_argument(
        "--modules", default="", metavar="MODULE,...", help="only these of each room: keys,lanes"
    )
    options = parser.parse_args()
    judged: dict[str, str] = tomllib.loads(JUDGED.read_text())["equivalent"]
    holds = True
    for room in options.rooms or [room for room in ROOMS if room not in NAMED_ONLY]:
        folder = stage(room)
        if not options.no_run:
            run(room, folder, options.seconds, options.modules)
        holds = report(room, folder, judged, options.modules) and holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
