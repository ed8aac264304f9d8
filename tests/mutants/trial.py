"""`python -m tests.mutants.trial SECONDS MODULES TESTS...`, in a folder that mutmut has filled: tries its mutants, or
those of some modules (`keys,lanes`).

mutmut starts pytest for each mutant. Here the tests are collected once, and each mutant is a fork that runs the tests
that reach it until one fails: a few hundredths of a second. Nor does a function look up at each call which mutant it
is: the fork gives it the mutant's code. So what ran at import was not mutated.

First come the fast tests, which kill most; then the slow ones, for those that survived. Survivors of earlier runs are
tried again, for there may be new tests. The order is the same random one each time, so what has been tried when the
time is up is an even sample.
"""

import gc
import json
import math
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import mutmut.mutation.trampoline
import pytest

CHILDREN_COUNT: Final = os.cpu_count() or 1
SAVE_EVERY: Final = 100
"""Verdicts between two writes of what is known."""
SLOW_S: Final = 0.5
"""Of a test under mutmut, from which on it comes second."""
CPU_S_MIN: Final = 2
"""Of one test, beyond what it takes under mutmut, which is several times what it takes here."""
WALL_S_MAX: Final = 120
"""Of a mutant. The rules do not sleep, so this is for what waits for a mutant to let it go."""
MEMORY_BYTES_MAX: Final = 4 << 30
SURVIVED, KILLED, TIMED_OUT, UNREACHED = 0, 1, 36, 33
"""Verdicts as mutmut writes them."""

originals: list[tuple[Any, Mapping[str, Any]]] = []
"""Each function that has mutants, and these by name."""


def remember(mutants: Mapping[str, Any], is_classmethod: bool = False) -> Callable[[Any], Any]:
    """In place of mutmut's decorator: the function stays as it is, and is known here."""

    def decorated(function: Any) -> Any:
        originals.append((function, mutants))
        return function

    return decorated


def become(name: str) -> None:
    """Give a function the code of its mutant `name`. Raises LookupError if there is none."""
    module, _, mutant_name = name.rpartition(".")
    for function, mutants in originals:
        if function.__module__ == module and mutant_name in mutants:
            mutant = mutants[mutant_name]
            mutant = getattr(mutant, "__func__", mutant)
            function.__code__ = mutant.__code__
            function.__defaults__ = mutant.__defaults__
            function.__kwdefaults__ = mutant.__kwdefaults__
            return
    raise LookupError(name)


class Trial:
    """A pytest plugin that tries mutants, for so many seconds, in place of running the tests once. Of these modules, or
    of all."""

    def __init__(self, seconds: float, modules: str) -> None:
        self._modules = [module for module in modules.split(",") if module]
        self._ends_at = time.monotonic() + seconds
        stats = json.loads(Path("mutmut-stats.json").read_text())
        self._tests: dict[str, list[str]] = stats["tests_by_mangled_function_name"]
        self._took_s: dict[str, float] = stats["duration_by_test"]
        self._metas = {path: json.loads(path.read_text()) for path in Path("taskferry").rglob("*.meta")}
        self._meta_of = {name: meta for meta in self._metas.values() for name in meta["exit_code_by_key"]}
        self._running: dict[int, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        gc.freeze()  # so that the forks share what there is
        untried = sorted(
            name
            for name in self._meta_of
            if self._verdict(name) not in (KILLED, TIMED_OUT)
            and (not self._modules or name.split(".")[-2] in self._modules)
        )
        random.Random(0).shuffle(untried)
        for is_slow in (False, True):
            for number, name in enumerate(untried):
                if time.monotonic() > self._ends_at:
                    break
                if is_slow and self._verdict(name) in (KILLED, TIMED_OUT):
                    continue
                reaching = [
                    test for test in self._tests.get(name.rpartition("__mutmut_")[0], ()) if test in items
                ]
                if not reaching:
                    self._meta_of[name]["exit_code_by_key"][name] = UNREACHED
                reaching = [test for test in reaching if (self._took_s.get(test, 0.0) >= SLOW_S) == is_slow]
                reaching.sort(key=lambda test: self._took_s.get(test, 0.0))
                if len(self._running) >= CHILDREN_COUNT:
                    self._reap()
                if reaching or not is_slow:
                    self._fork(name, [items[test] for test in reaching])
                if number % SAVE_EVERY == 0:
                    self._save()
                    print(f"{number} of {len(untried)}", file=sys.__stderr__, flush=True)
            while self._running:
                self._reap()
        self._save()
        return True

    def _verdict(self, name: str) -> int | None:
        verdict: int | None = self._meta_of[name]["exit_code_by_key"][name]
        return verdict

    def _fork(self, name: str, items: list[pytest.Item]) -> None:
        process_id = os.fork()
        if process_id:
            self._running[process_id] = name
            return
        status = 2  # an error here
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(WALL_S_MAX)
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            become(name)
            self._run(items)
            status = SURVIVED
        finally:
            os._exit(status)

    def _run(self, items: list[pytest.Item]) -> None:
        for item, next_item in zip(items, [*items[1:], None], strict=True):
            cpu_s = math.ceil(time.process_time() + self._took_s.get(item.nodeid, 0.0)) + CPU_S_MIN
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, -1))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            os._exit(KILLED)  # before pytest describes the failure, which takes longer than most tests

    def _reap(self) -> None:
        process_id, status = os.wait()
        name = self._running.pop(process_id)
        code = os.waitstatus_to_exitcode(status)
        if self._verdict(name) == UNREACHED:
            return
        verdict = TIMED_OUT if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM) else code
        self._meta_of[name]["exit_code_by_key"][name] = verdict

    def _save(self) -> None:
        for path, meta in self._metas.items():
            path.write_text(json.dumps(meta))


if __name__ == "__main__":
    seconds, modules, *selection = sys.argv[1:]
    options = ["-q", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "--rootdir=."]
    mutmut.mutation.trampoline.wrap_in_trampoline = remember
    sys.exit(pytest.main([*options, *selection], plugins=[Trial(float(seconds), modules)]))
