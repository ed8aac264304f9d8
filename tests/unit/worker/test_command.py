"""Registration: what can be wrong with a handler is found when it is registered, with the handler's name."""

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from taskferry.protocol.limits import COMMANDS_COUNT_MAX, NAME_LENGTH_MAX
from taskferry.protocol.messages import Defaults
from taskferry.worker import Worker
from taskferry.worker.command import Execution

from tests.each_case import each_case
from tests.unit.worker import process_handlers


def plain(value: int) -> int:
    return value


async def coroutine(value: int) -> int:
    return value


class Callee:
    async def __call__(self, value: int) -> int:
        return value

    def method(self, value: int) -> int:
        return value


def execution_of(handler: Callable[..., Any], **options: Any) -> Execution:
    worker = Worker()
    worker.command("it", **options)(handler)
    return worker.commands["it"].execution


def test_the_decorator_returns_the_function_itself_and_names_the_command_after_it() -> None:
    worker = Worker()
    assert worker.command()(plain) is plain
    assert worker.command("other.name")(coroutine) is coroutine
    assert list(worker.commands) == ["plain", "other.name"]


def test_where_a_handler_runs() -> None:
    assert execution_of(plain) is Execution.THREAD
    assert execution_of(plain, executor="thread") is Execution.THREAD
    assert execution_of(Callee().method) is Execution.THREAD
    assert execution_of(coroutine) is Execution.COROUTINE
    assert execution_of(Callee()) is Execution.COROUTINE
    assert execution_of(functools.partial(coroutine)) is Execution.COROUTINE
    assert execution_of(process_handlers.square, executor="process") is Execution.PROCESS


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Yielding:
    def __call__(self) -> Iterator[int]:
        yield 1


class YieldingInLoop:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


@each_case(
    ("handler", "execution", "is_generator"),
    [
        (plain, Execution.THREAD, False),
        (coroutine, Execution.COROUTINE, False),
        (generator, Execution.THREAD, True),
        (functools.partial(generator), Execution.THREAD, True),
        (Yielding(), Execution.THREAD, True),
        (async_generator, Execution.COROUTINE, True),
        (functools.partial(async_generator), Execution.COROUTINE, True),
        (YieldingInLoop(), Execution.COROUTINE, True),
    ],
)
def test_which_handlers_yield_chunks(
    handler: Callable[..., Any], execution: Execution, is_generator: bool
) -> None:
    worker = Worker()
    worker.command("it")(handler)
    command = worker.commands["it"]
    assert (command.execution, command.is_generator) == (execution, is_generator)


def local_function() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


@each_case(
    ("name", "handler", "executor", "expected"),
    [
        ("x", async_generator, "thread", "command 'x': an async handler runs in the event loop"),
        ("x", coroutine, "thread", "command 'x': an async handler runs in the event loop, not in a thread"),
        ("x", coroutine, "process", "command 'x': an async handler runs in the event loop, not in a process"),
        ("x", plain, "greenlet", "command 'x': executor is 'thread' or 'process', not 'greenlet'"),
        (
            "x",
            local_function(),
            "process",
            "command 'x': a handler in a process must be a function of a",
        ),
        (
            "x",
            lambda: 1,
            "process",
            "command 'x': a handler in a process must be a function of a module",
        ),
        ("x", lambda *values: values, None, r"command 'x': \*values: parameters are passed by name"),
        ("a b", plain, None, "command 'a b': only letters, digits and _ . : @ / - may be used"),
        ("_x", plain, None, "command '_x': only letters"),
        ("", plain, None, "command '': only letters"),
        ("x\n", plain, None, r"command 'x\\n': only letters"),
        (
            "x" * (NAME_LENGTH_MAX + 1),
            plain,
            None,
            "command 'xxxxxxxxxxxxxxxxxxxx'...: 129 characters, at most 128",
        ),
        (
            None,
            functools.partial(plain),
            None,
            r"a handler without a name needs one: command\(NAME\)",
        ),
        (7, plain, None, "a command's name is a string, not an int"),
    ],
)
def test_what_cannot_be_served_is_refused(name: Any, handler: Any, executor: Any, expected: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{expected}"):
        Worker().command(name, executor=executor)(handler)


def in_its_class() -> None:
    worker = Worker()

    class Thumbnails:
        @worker.command()
        async def resize(self, url: str) -> None: ...


def plain_in_its_class() -> None:
    worker = Worker()

    class Thumbnails:
        @worker.command("resize")
        def resize_all(self) -> None: ...


def of_the_class() -> None:
    Worker().command("resize")(Callee.method)


def class_method() -> None:
    worker = Worker()

    class Thumbnails:
        @worker.command("resize")
        @classmethod
        def resize_all(cls) -> None: ...


@each_case("register", [in_its_class, plain_in_its_class, of_the_class, class_method])
def test_a_method_without_its_object_is_refused_by_name(register: Callable[[], None]) -> None:
    with pytest.raises(
        TypeError, match=r"^command 'resize': a .*method .+: after the class, worker\.command\(NAME\)\("
    ):
        register()


def test_a_static_method_is_a_function_like_any_other() -> None:
    worker = Worker()

    class Thumbnails:
        @worker.command("outside")
        @staticmethod
        def resize(url: str) -> str:
            return url

        @staticmethod
        @worker.command("inside")
        async def shrink(url: str) -> str:
            return url

        @worker.command("coroutine")
        @staticmethod
        async def grow(url: str) -> str:
            return url

    executions = {name: command.execution for name, command in worker.commands.items()}
    assert executions == {
        "outside": Execution.THREAD,
        "inside": Execution.COROUTINE,
        "coroutine": Execution.COROUTINE,
    }
    assert Thumbnails.resize("a") == "a"
    assert worker.commands["outside"].function is Thumbnails.resize


def test_the_longest_name_is_served() -> None:
    worker = Worker()
    worker.command("x" * NAME_LENGTH_MAX)(plain)
    assert worker.commands


def test_a_forgotten_pair_of_parentheses_is_reported() -> None:
    with pytest.raises(TypeError, match=r"^write @worker.command\(\) with parentheses"):
        Worker().command(plain)  # type: ignore[arg-type]


def test_a_command_has_one_handler() -> None:
    worker = Worker()
    worker.command()(plain)
    with pytest.raises(ValueError, match=r"^command 'plain': there is already a handler for it"):
        worker.command("plain")(coroutine)


def test_the_number_of_commands_is_bounded() -> None:
    worker = Worker()
    for number in range(COMMANDS_COUNT_MAX):
        worker.command(f"c{number}")(plain)
    with pytest.raises(ValueError, match=r"^command 'plain': a worker serves at most 1000 commands"):
        worker.command()(plain)


# --- what jobs of the command run under ---


def test_declared_defaults() -> None:
    worker = Worker()
    worker.command("none")(plain)
    worker.command("all", attempts=5, backoff=(1, 10.5), timeout=300)(plain)
    worker.command("most", attempts=100, backoff=[0] * 19 + [604_800], timeout=604_800)(plain)
    worker.command("least", attempts=1, backoff=0)(plain)
    assert worker.commands["none"].defaults is None
    assert worker.commands["all"].defaults == Defaults(attempts=5, backoff=[1.0, 10.5], timeout=300.0)
    assert worker.commands["most"].defaults == Defaults(100, [0.0] * 19 + [604_800.0], 604_800.0)
    assert worker.commands["least"].defaults == Defaults(attempts=1, backoff=0.0)


@each_case(
    ("options", "expected"),
    [
        ({"attempts": 0}, "attempts: expected a whole number from 1 to 100, got 0"),
        ({"attempts": 101}, "attempts: expected a whole number from 1 to 100, got 101"),
        ({"attempts": 2.5}, "attempts: expected a whole number from 1 to 100, got 2.5"),
        ({"attempts": True}, "attempts: expected a whole number from 1 to 100, got true"),
        ({"backoff": -1}, "backoff: expected a number of seconds from 0 to 604800, got -1"),
        ({"backoff": "10"}, 'backoff: expected a number of seconds from 0 to 604800, got "10"'),
        ({"backoff": [1, float("nan")]}, "backoff: expected a number of seconds from 0 to 604800, got nan"),
        ({"backoff": []}, "backoff: expected 1 to 20 waits, got 0"),
        ({"backoff": [1] * 21}, "backoff: expected 1 to 20 waits, got 21"),
        ({"timeout": 0}, "timeout: expected a number of seconds over 0 and at most 604800, got 0"),
        ({"timeout": 604_801}, "timeout: expected a number of seconds over 0 and at most 604800, got 604801"),
        ({"timeout": "1h"}, 'timeout: expected a number of seconds over 0 and at most 604800, got "1h"'),
    ],
)
def test_a_default_out_of_its_bounds_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^command 'x': {re.escape(expected)}"):
        Worker().command("x", **options)(plain)
