"""The worker SDK, the runner behind `taskferry worker`, and the built-in commands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..program.own_messages import Message
    from .context import Context
    from .failure import CommandError, Dead, Retry
    from .worker import Worker

__all__ = ["CommandError", "Context", "Dead", "Message", "Retry", "Worker"]

_HOMES = {
    "CommandError": "failure",
    "Context": "context",
    "Dead": "failure",
    "Message": ".program.own_messages",
    "Retry": "failure",
    "Worker": "worker",
}


def __getattr__(name: str) -> object:
    """Load the SDK when it is first used (PEP 562): `taskferry --help` imports this module and needs none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only needed here

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
