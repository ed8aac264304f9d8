"""What holds for every test, however it was started: nothing of the shell's own settings, signals as in a foreground
process, and Hypothesis tuned for two busy cores."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.printed_secrets import pytest_runtest_makereport  # noqa: F401  a hook

# Settings of ours and of libraries, how a terminal would look, and proxies, which would catch calls to this machine.
FOREIGN_PREFIXES = ("TASKFERRY_", "OTEL_")
FOREIGN_NAMES = {
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "FORCE_COLOR",
    "LINES",
    "NO_COLOR",
    "PYTHONIOENCODING",
    "TERM",
}
for name in list(os.environ):
    if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES or name.lower().endswith("_proxy"):
        del os.environ[name]
os.environ["PYTHONUTF8"] = "1"  # whatever the locale
# Where a broker that names no journal keeps its jobs: never in the state directory of whoever runs the tests.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="taskferry-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)
os.environ.pop("STATE_DIRECTORY", None)
OPEN_FILES_COUNT = 4096

# A shell starts what runs in the background with SIGINT ignored, and nohup with SIGHUP. Programs under test would
# inherit that. They do not inherit a handler, and one that does nothing leaves this process as it was meant to be.
if sys.platform != "win32":
    import resource

    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python itself ignores
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Some tests have hundreds of connections, and macOS begins with 256 open files.
    open_files, open_files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= open_files < OPEN_FILES_COUNT:
        wanted = OPEN_FILES_COUNT if open_files_max < 0 else min(OPEN_FILES_COUNT, open_files_max)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, open_files_max))

# Under coverage and next to other test processes the time of one example says nothing about the code.
settings.register_profile(
    "taskferry", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("taskferry")

UNCOVERED = (
    "benchmarks/",
    "integration/",
    "sim/",
    "simulation/",
    "unit/broker/core/test_core_machine.py",
    "unit/broker/jobs/test_jobs_machine.py",
)
"""Tests that coverage would slow down several times over, and that would add little to it: they walk where others have
been, or drive programs whose parts have tests of their own. Single ones have the marker themselves."""
COVERED = (
    "integration/test_broker_http.py",
    "integration/test_broker_requests.py",
    "integration/test_tracing.py",
)
"""Those of them that reach what no other test does: how the broker is put together, and what is written on a wire."""


_core = find_spec("taskferry.broker.core.core")
IS_COMPILED = _core is not None and not (_core.origin or "").endswith(".py")

PURE = (
    "unit/broker/http/",
    "unit/broker/identity/",
    "unit/broker/metrics/",
    "unit/broker/test_settings.py",
    "unit/broker/test_tls.py",
    "unit/protocol/",
)
"""Tests of what the wheel has just as the sources have it, Python or C that is built for both. On the wheel they would
see nothing new, but for those that run there alone."""
COMPILED = ("unit/protocol/test_frequent.py",)
"""What is compiled of it."""


@pytest.hookimpl(tryfirst=True)  # before -m takes its pick
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    kept: list[pytest.Item] = []
    seen_before: list[pytest.Item] = []
    for item in items:
        path = item.path.relative_to(tests).as_posix()
        if path.startswith(UNCOVERED) and not path.startswith(COVERED):
            item.add_marker(pytest.mark.uncovered)
        is_pure = path.startswith(PURE) and not path.startswith(COMPILED)
        is_seen = IS_COMPILED and is_pure and item.get_closest_marker("uncovered") is None
        (seen_before if is_seen else kept).append(item)
    if seen_before:
        items[:] = kept
        config.hook.pytest_deselected(items=seen_before)


_replace = pytest.MonkeyPatch.setattr


def _replace_or_skip(patch: pytest.MonkeyPatch, target: object, *arguments: Any, **options: Any) -> None:
    """A test that would replace a name in a compiled module is skipped: C does not look its names up."""
    if isinstance(target, ModuleType) and not (getattr(target, "__file__", None) or ".py").endswith(".py"):
        pytest.skip(f"{target.__name__} is compiled: its names cannot be replaced")
    _replace(patch, target, *arguments, **options)


pytest.MonkeyPatch.setattr = _replace_or_skip  # type: ignore[assignment, method-assign]  # replaced on purpose, for every test
