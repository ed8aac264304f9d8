"""What is added to a broker by modules of the user: handlers of messages of their own.

    # audit.py, which the setting `plugins` names
    from taskferry.broker.plugins import on_message

    @on_message("audit")
    def audit(message): ...  # message.kind, message.data, message.sender

A coroutine runs in the broker's event loop and must not block it; any other function runs in a thread.
"""

import importlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw

from ..configuration.sources import ConfigurationError
from ..program.own_messages import MessageHandlers
from ..protocol import errors
from ..protocol.codec import DECODE_ERRORS, describe
from ..protocol.encodings import Encoding

HANDLERS: Final = MessageHandlers()
"""Those of all modules that are imported in this process."""

on_message: Final = HANDLERS.on
"""Decorates the handler of a kind of message that is sent to the broker. Raises ValueError if this kind has one."""


def load_plugins(names: Iterable[str]) -> None:
    """Import these modules, which register their handlers. Raises ConfigurationError, which names the one that cannot
    be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a plugin may do anything when it is imported
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ConfigurationError([f"plugins: {name!r} cannot be imported: {reason}"]) from None


class Plugins:
    """The handlers, as messages reach them."""

    def __init__(self, handlers: MessageHandlers = HANDLERS) -> None:
        self._handlers = handlers

    def take(self, kind: str, data: Raw, encoding: Encoding, sender: str) -> None:
        """Call the handler, soon. Raises UnknownMessageType if there is none, and BadRequest for data that Python
        cannot hold."""
        if not self._handlers.has(kind):
            raise errors.UnknownMessageType(f"kind: no plugin of the broker handles {kind!r}")
        library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
        try:
            value = library.decode(data)
        except DECODE_ERRORS as error:
            raise errors.BadRequest(f"data: {describe(error, encoding)}") from None
        self._handlers.received(kind, value, sender)
