"""docs/configuration.md and docs/log.md are what the sources declare, completely."""

import importlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from taskferry.cli.check_config import PROGRAMS, all_tables
from taskferry.cli.reference_pages import EVENTS_OF, configuration_page, log_page, main
from taskferry.configuration.sources import Sources

from tests.unit.layout.source_tree import ROOT, source_files

PAGES = {"configuration.md": configuration_page, "log.md": log_page}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run: make docs"


def test_writing_them(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, [str(tmp_path)]).exit_code == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        name: page() for name, page in PAGES.items()
    }


def test_the_example_is_a_file_of_defaults(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", configuration_page(), re.DOTALL)
    path = tmp_path / "taskferry.toml"
    path.write_text(example)
    in_file = Sources(all_tables(), path).read()
    by_default = Sources(all_tables()).read()
    for table in all_tables():
        assert in_file.settings(table) == by_default.settings(table)
        for key, setting in table.settings.items():
            assert (in_file.values[table.name][key].source == "file") == (setting.default is not None)


def test_each_flag_and_variable_exists() -> None:
    text = configuration_page()
    for title, program in PROGRAMS.items():
        table = program.table if title != "request" else "REQUESTER"
        section = text.split(f"## [{table.lower()}]")[1].split("\n## ")[0] + text.split("## [log]")[1]
        module = importlib.import_module(f"taskferry.{program.module}")
        parameters = getattr(module, program.command).params
        flags = {flag for parameter in parameters for flag in parameter.opts}
        variables = {
            name
            for parameter in parameters
            for name in ([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ())
        }
        rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
        named = [word for row in rows for word in re.findall(r"`([^`]+)`", row[3])]
        assert {word for word in named if word.startswith("--")} <= flags
        assert {word for word in named if not word.startswith("--")} <= variables


def test_every_module_of_events_is_on_the_page() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in source_files()
        if path.name == "events.py"
    }
    assert found == set(EVENTS_OF.values())


def test_only_events_are_logged() -> None:
    # The transport logs a bug of ours with its traceback; it has no events.
    allowed = {"log/event.py", "transport/link.py"}
    plain = {
        path.relative_to(ROOT).as_posix()
        for path in source_files()
        if re.search(
            r"\blogger\.(debug|info|warning|error|exception|log)\(", path.read_text(encoding="utf-8")
        )
    }
    assert plain == allowed
