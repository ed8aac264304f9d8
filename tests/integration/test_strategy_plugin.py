"""A third-party strategy: the example is installed as a user would install it, and a broker picks by it."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.peers import connected, serving
from tests.processes import PATIENCE_S, Programs

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "strategy_plugin"
USAGE_ERROR = 2


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the example installed in it."""
    # A copy, because a build leaves a folder beside the source.
    source = tmp_path_factory.mktemp("source") / "strategy_plugin"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("installed")
    command = ("-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    done = subprocess.run(
        [sys.executable, *command, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def environment_with(*folders: Path) -> dict[str, str]:
    """The environment in which Python finds what is installed in `folders`."""
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([*map(str, folders), *([before] if before else [])])}


async def picks_of(worker_url: str, requester_url: str) -> list[str]:
    """The workers of four requests of a command, none of which ended before all were assigned."""
    all_held = asyncio.Event()
    held: list[object] = []

    async def hold(params: object) -> str:
        held.append(params)
        if len(held) == 4:
            all_held.set()
        await all_held.wait()
        return "done"

    async with (
        serving(worker_url, {"hold": hold}, name="first", concurrency=3),
        serving(worker_url, {"hold": hold}, name="second", concurrency=3),
        connected(requester_url) as requester,
    ):
        for number in range(4):
            await requester.send({"request_id": str(number), "command": "hold"})
        responses = [await requester.receive() for _ in range(4)]
    assert all(response["success"] for response in responses)
    return sorted(response["processed_by"] for response in responses)


def test_the_example_is_installed_and_picks_the_workers(installed: Path, programs: Programs) -> None:
    broker = programs.start_broker("--strategy", "most_loaded", environment=environment_with(installed))
    picks = asyncio.run(picks_of(broker.worker_url, broker.requester_url))
    # It fills one worker before it uses the next; any built-in strategy would have distributed them evenly.
    assert picks in (["first", "first", "first", "second"], ["first", "second", "second", "second"])


def test_it_may_be_named_for_some_commands_only(installed: Path, programs: Programs, tmp_path: Path) -> None:
    config = tmp_path / "broker.toml"
    config.write_text('[broker.strategies]\n"hol?" = "most_loaded"\n')
    broker = programs.start_broker("--config", str(config), environment=environment_with(installed))
    picks = asyncio.run(picks_of(broker.worker_url, broker.requester_url))
    assert picks in (["first", "first", "first", "second"], ["first", "second", "second", "second"])


def test_its_own_tests_pass_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "test_most_loaded.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env={**os.environ, **environment_with(installed)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def registered(folder: Path, distribution: str, name: str, value: str) -> Path:
    """`folder` with the metadata of an installed distribution that registers `value` as strategy `name`."""
    metadata = folder / f"{distribution}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[taskferry.strategies]\n{name} = {value}\n")
    return folder


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            "mine",
            "no_such_module:Mine",
            "strategy: 'mine' of broken-plugin 1.0 (no_such_module:Mine) cannot be loaded: "
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "mine",
            "json:loads",
            "strategy: 'mine' of broken-plugin 1.0 (json:loads) cannot be loaded: TypeError: ",
        ),
        (
            "mine",
            "builtins:repr",
            "strategy: 'mine' of broken-plugin 1.0 (builtins:repr) is not a strategy: "
            "it has no method add, remove, changed, pick",
        ),
        (
            "random",
            "random:Random",
            "strategy: 'random' of broken-plugin 1.0 (random:Random) has the name of a built-in one",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_clear_line(
    programs: Programs, tmp_path: Path, name: str, value: str, text: str
) -> None:
    folder = registered(tmp_path / "plugins", "broken-plugin", name, value)
    broker = programs.start(
        "-m", "taskferry.broker", "--strategy", name, environment=environment_with(folder)
    )
    assert broker.wait() == USAGE_ERROR
    assert broker.stdout == ""
    (line,) = broker.stderr.splitlines()
    assert line.startswith(f"error: --{text}")


def test_two_plugins_of_one_name_are_both_named(programs: Programs, tmp_path: Path) -> None:
    folders = [registered(tmp_path / which, f"{which}-plugin", "mine", f"{which}:Mine") for which in "ab"]
    broker = programs.start(
        "-m", "taskferry.broker", "--strategy", "mine", environment=environment_with(*folders)
    )
    assert broker.wait() == USAGE_ERROR
    (line,) = broker.stderr.splitlines()
    assert "'mine' of b-plugin 1.0 (b:Mine) is registered by a-plugin 1.0 too" in line


def test_an_unused_plugin_is_not_imported(programs: Programs, tmp_path: Path) -> None:
    folder = registered(tmp_path / "plugins", "broken-plugin", "mine", "no_such_module:Mine")
    broker = programs.start_broker(environment=environment_with(folder))
    broker.terminate()
    assert broker.wait() == 0


def test_the_error_for_an_unknown_name_lists_the_installed_plugins(
    installed: Path, programs: Programs
) -> None:
    broker = programs.start(
        "-m", "taskferry.broker", "--strategy", "most_loadd", environment=environment_with(installed)
    )
    assert broker.wait() == USAGE_ERROR
    (line,) = broker.stderr.splitlines()
    assert line.endswith("consistent_hash, most_loaded; did you mean most_loaded?")
