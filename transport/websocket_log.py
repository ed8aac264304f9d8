"""Where the websockets library logs, for both sides of a link.

It would tell of every connection at level INFO; links tell their receivers instead, so only its warnings are kept.
"""

import logging
from typing import Final

websocket_logger: Final = logging.getLogger("taskferry.websocket")
if websocket_logger.level == logging.NOTSET:  # nobody has asked for another
    websocket_logger.setLevel(logging.WARNING)
