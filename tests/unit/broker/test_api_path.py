"""What the URL of a WebSocket at the API port may say, on both sides of each bound."""

from http import HTTPStatus

from taskferry.broker.api_path import FIELDS_COUNT_MAX, Wish, wish_of
from taskferry.protocol.limits import TOPIC_LENGTH_MAX, TOPICS_COUNT_MAX
from taskferry.transport.admission import Refusal, RefusalReason

from tests.each_case import each_case

MANY = [f"t{number}" for number in range(TOPICS_COUNT_MAX)]


@each_case(
    ("target", "wish"),
    [
        ("/ws", Wish()),
        ("/ws/task", Wish()),
        ("/ws?", Wish()),
        ("/ws?client_id=desk-7", Wish("desk-7")),
        ("/ws/task?client_id=a&client_id=%C3%BC", Wish("ü")),
        (f"/ws?client_id={'x' * 128}", Wish("x" * 128)),
        ("/ws?topics=task:list", Wish(topics=("task:list",))),
        ("/ws?topics=task%3Alist,job:*&topics=task:list&other=1", Wish(topics=("task:list", "job:*"))),
        (f"/ws?topics={','.join(MANY)}", Wish(topics=tuple(MANY))),
        (f"/ws?topics={'x' * TOPIC_LENGTH_MAX}", Wish(topics=("x" * TOPIC_LENGTH_MAX,))),
        (f"/ws?{'&'.join('a=1' for _ in range(FIELDS_COUNT_MAX))}", Wish()),
    ],
)
def test_what_it_says(target: str, wish: Wish) -> None:
    assert wish_of(target) == wish


@each_case(
    ("target", "status", "text"),
    [
        ("/", HTTPStatus.NOT_FOUND, "there is no WebSocket at this path: use /ws or /ws/task"),
        ("/ws/", HTTPStatus.NOT_FOUND, "there is no WebSocket"),
        ("/WS", HTTPStatus.NOT_FOUND, "there is no WebSocket"),
        ("http://other/ws", HTTPStatus.NOT_FOUND, "there is no WebSocket"),
        ("/ws?client_id=", HTTPStatus.BAD_REQUEST, "client_id: expected 1 to 128 characters"),
        (f"/ws?client_id={'x' * 129}", HTTPStatus.BAD_REQUEST, "client_id: "),
        ("/ws?topics=", HTTPStatus.BAD_REQUEST, "topics: expected at most 100, each of 1 to 160"),
        ("/ws?topics=a,,b", HTTPStatus.BAD_REQUEST, "topics: "),
        (f"/ws?topics={'x' * (TOPIC_LENGTH_MAX + 1)}", HTTPStatus.BAD_REQUEST, "topics: "),
        (f"/ws?topics={','.join([*MANY, 'one'])}", HTTPStatus.BAD_REQUEST, "topics: "),
        (
            f"/ws?{'&'.join('a=1' for _ in range(FIELDS_COUNT_MAX + 1))}",
            HTTPStatus.BAD_REQUEST,
            "the query cannot be read, or has over 20 parameters",
        ),
        ("/ws?client_id=%ff", HTTPStatus.BAD_REQUEST, "the query cannot be read"),
    ],
)
def test_what_it_cannot_say(target: str, status: HTTPStatus, text: str) -> None:
    refusal = wish_of(target)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.text[: len(text)]) == (status, text)
    unknown = status is HTTPStatus.NOT_FOUND
    assert refusal.reason is (RefusalReason.UNKNOWN_PATH if unknown else RefusalReason.BAD_REQUEST)
