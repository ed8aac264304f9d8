"""The logger of the websockets library, for both roles.

It would log every connection at level INFO. Links notify their receivers instead, so only its warnings are kept.
"""

import logging
from typing import Final

websocket_logger: Final = logging.getLogger("taskferry.websocket")
if websocket_logger.level == logging.NOTSET:  # nothing else was configured
    websocket_logger.setLevel(logging.WARNING)
