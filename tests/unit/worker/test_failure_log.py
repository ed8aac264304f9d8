"""What is logged of a handler that fails: its own frames, and its words only if they are wanted."""

import pytest
from taskferry.log.traceback import places
from taskferry.worker.calculator import calculate
from taskferry.worker.events import COMMANDS_NAMED_COUNT_MAX, named
from taskferry.worker.failure import CommandError, outside


def raised_by(source: str, *modules: str) -> BaseException:
    """What `source` raises, called by a function of each of these modules, the first of them outermost."""
    call = compile(source, "handler.py", "exec")
    names: dict[str, object] = {"__name__": "tasks"}

    def run() -> None:
        exec(call, names)  # noqa: S102

    for module in reversed(modules):
        frame: dict[str, object] = {"__name__": module, "called": run}
        exec(compile("def run(): called()", f"{module}.py", "exec"), frame)  # noqa: S102
        run = frame["run"]  # type: ignore[assignment]
    try:
        run()
    except BaseException as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        return error
    raise AssertionError


def test_the_frames_that_called_the_handler_are_left_out() -> None:
    error = outside(raised_by("int('x')", "taskferry.worker.handlers", "taskferry.worker.own_context"))
    text = places(error)
    assert "taskferry.worker" not in text
    assert "handler.py" in text


def test_frames_of_the_package_below_the_handler_stay() -> None:
    text = places(
        outside(raised_by("int('x')", "taskferry.worker.handlers", "tasks", "taskferry.worker.context"))
    )
    assert "taskferry.worker.handlers" not in text
    assert "tasks.py" in text
    assert "taskferry.worker.context" in text


def test_a_handler_of_the_package_is_a_handler() -> None:
    with pytest.raises(CommandError) as caught:
        calculate(1, 0, "/")
    assert "calculator.py" in places(outside(caught.value))


def test_if_all_frames_are_of_the_package_they_stay() -> None:
    error = raised_by("int('x')", "taskferry.worker.handlers")
    innermost = error.__traceback__
    assert innermost is not None
    innermost.tb_next = None
    assert "taskferry.worker.handlers" in places(outside(error))


@pytest.mark.parametrize("more_count", [0, 1, 1000])
def test_a_line_names_the_first_commands_and_counts_the_others(more_count: int) -> None:
    names = [f"c{number}" for number in range(COMMANDS_NAMED_COUNT_MAX + more_count)]
    expected = names[:COMMANDS_NAMED_COUNT_MAX]
    if more_count:
        expected.append(f"and {more_count:,} more")
    assert list(named(names)) == expected
