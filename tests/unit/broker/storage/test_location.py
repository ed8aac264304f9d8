"""Where the journal is by default, on each system."""

from pathlib import Path

from taskferry.broker.storage.location import default_path

from tests.each_case import each_case

HOME = Path("/home/anna")


@each_case(
    ("platform", "environ", "path"),
    [
        ("linux", {}, "/home/anna/.local/state/taskferry/journal.db"),
        ("linux", {"XDG_STATE_HOME": "/state"}, "/state/taskferry/journal.db"),
        ("linux", {"XDG_STATE_HOME": "relative"}, "/home/anna/.local/state/taskferry/journal.db"),
        ("linux", {"XDG_STATE_HOME": "", "STATE_DIRECTORY": ""}, "/home/anna/.local/state/taskferry/journal.db"),
        ("linux", {"XDG_STATE_HOME": "/state", "STATE_DIRECTORY": "/var/lib/t"}, "/var/lib/t/journal.db"),
        ("linux", {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/journal.db"),
        ("darwin", {}, "/home/anna/Library/Application Support/taskferry/journal.db"),
        ("darwin", {"XDG_STATE_HOME": "/state"}, "/state/taskferry/journal.db"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/taskferry/journal.db"),
        ("win32", {"XDG_STATE_HOME": "/state"}, "/home/anna/AppData/Local/taskferry/journal.db"),
    ],
)  # fmt: skip
def test_the_default_path(platform: str, environ: dict[str, str], path: str) -> None:
    assert default_path(environ, HOME, platform) == Path(path)
