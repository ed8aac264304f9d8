"""The names of the encodings, and which one a handshake selects."""

from taskferry.protocol.encodings import SUBPROTOCOLS, Encoding, choose

from tests.each_case import each_case

JSON, MSGPACK = "taskferry.v1.json", "taskferry.v1.msgpack"


def test_the_names_are_those_of_the_contract() -> None:
    assert SUBPROTOCOLS == {JSON: Encoding.JSON, MSGPACK: Encoding.MSGPACK}


@each_case(
    ("offered", "chosen"),
    [
        ([], Encoding.JSON),
        ([JSON], Encoding.JSON),
        ([MSGPACK], Encoding.MSGPACK),
        ([MSGPACK, JSON], Encoding.MSGPACK),
        ([JSON, MSGPACK], Encoding.JSON),
        (["chat", "taskferry.v2.json", MSGPACK], Encoding.MSGPACK),
        (["chat"], None),
        (["taskferry.v1.JSON", "json"], None),
    ],
)
def test_the_first_offer_that_is_known_is_taken(offered: list[str], chosen: Encoding | None) -> None:
    assert choose(offered) is chosen
