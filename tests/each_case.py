"""Many small cases in one test: a test costs pytest some milliseconds, and a pure case some microseconds.

Only for cases without fixtures, sockets or event loops. All are tried, and those that fail are reported by name.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

NAME_LENGTH_MAX: Final = 200
"""How much of a case is shown if it has no name of its own: some are as large as a message may be."""


def each_case(
    names: str | tuple[str, ...], cases: Iterable[Any], ids: Callable[[Any], object] = repr
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test go through all `cases`, passed as `names` just as by `pytest.mark.parametrize`. `ids` makes the name
    of a case."""
    own_names = (names,) if isinstance(names, str) else names
    listed = [(case,) if isinstance(names, str) else tuple(case) for case in cases]

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def run(**given: Any) -> None:
            assert listed, "there is no case"
            failures: list[tuple[str, BaseException]] = []
            for case in listed:
                try:
                    check(**given, **dict(zip(own_names, case, strict=True)))
                except (Exception, pytest.fail.Exception) as error:
                    name = str(ids(case[0] if isinstance(names, str) else case))
                    failures.append((name[:NAME_LENGTH_MAX], error))
            if failures:
                lines = [f"{name}: {_reason(error)}".replace("\n", "\n    ") for name, error in failures]
                text = "\n".join((f"{len(failures)} of {len(listed)} cases fail:", *lines))
                raise AssertionError(text) from failures[0][1]

        # The rest is for pytest, which would take the names of a case for fixtures.
        signature = inspect.signature(check)
        assert set(own_names) <= signature.parameters.keys(), f"{check.__name__} takes no {own_names}"
        rest = [parameter for name, parameter in signature.parameters.items() if name not in own_names]
        run.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return run

    return decorate


def _reason(error: BaseException) -> str:
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return str(error)
    return f"{type(error).__name__}: {error}"
