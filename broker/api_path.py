"""What the URL of a WebSocket at the API port says: where it leads, who connects, and which topics it wants at once."""

from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from ..protocol.limits import JOB_ID_LENGTH_MAX, TOPIC_LENGTH_MAX, TOPICS_COUNT_MAX
from ..transport.admission import Refusal, RefusalReason

PATHS: Final = ("/ws", "/ws/task")

FIELDS_COUNT_MAX: Final = 20
"""Parameters of a URL. Unknown ones are ignored."""


class Wish(NamedTuple):
    """What the URL says. `topics`: to which the connection subscribes as soon as it is open."""

    client_id: str | None = None
    topics: tuple[str, ...] = ()


def wish_of(target: str) -> Wish | Refusal:
    """What a request target says, or why it cannot be."""
    path, _, query = target.partition("?")
    if path not in PATHS:
        text = f"there is no WebSocket at this path: use {' or '.join(PATHS)}"
        return Refusal(HTTPStatus.NOT_FOUND, text, RefusalReason.UNKNOWN_PATH)
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=FIELDS_COUNT_MAX, errors="strict")
    except ValueError:  # UnicodeDecodeError is one
        return _bad(f"the query cannot be read, or has over {FIELDS_COUNT_MAX} parameters")
    client_id = fields.get("client_id", [None])[-1]
    if client_id is not None and not 1 <= len(client_id) <= JOB_ID_LENGTH_MAX:
        return _bad(f"client_id: expected 1 to {JOB_ID_LENGTH_MAX} characters")
    topics = tuple(dict.fromkeys(",".join(fields["topics"]).split(","))) if "topics" in fields else ()
    if len(topics) > TOPICS_COUNT_MAX or not all(1 <= len(topic) <= TOPIC_LENGTH_MAX for topic in topics):
        return _bad(
            f"topics: expected at most {TOPICS_COUNT_MAX}, each of 1 to {TOPIC_LENGTH_MAX} characters, "
            "with commas between"
        )
    return Wish(client_id, topics)


def _bad(text: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, text, RefusalReason.BAD_REQUEST)
