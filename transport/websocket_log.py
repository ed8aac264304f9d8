"""The logger of the websockets library, for both roles.

It would log every connection at level INFO. Links notify their receivers instead, so only its warnings are kept.
Programs that set it to DEBUG all the same get no header that may hold a token.
"""

import logging
from typing import Final

_WITH_TOKENS: Final = frozenset({"authorization", "cookie", "sec-websocket-protocol"})


def _holds_no_token(record: logging.LogRecord) -> bool:
    """The library logs a header as `> %s: %s`, with its name and its value."""
    is_header = isinstance(record.args, tuple) and len(record.args) == 2
    return not (is_header and str(record.args[0]).lower() in _WITH_TOKENS)  # type: ignore[index]  # just checked


websocket_logger: Final = logging.getLogger("taskferry.websocket")
if websocket_logger.level == logging.NOTSET:  # nothing else was configured
    websocket_logger.setLevel(logging.WARNING)
websocket_logger.addFilter(_holds_no_token)
