"""A token is found in either place where it may be, and never quoted if it cannot be one."""

import pytest
from taskferry.broker.bearer import BadToken, token_in
from taskferry.protocol.limits import TOKEN_LENGTH_MAX

from tests.each_case import each_case

TOKEN = "tfk_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2ln"


@each_case(
    ("headers", "token"),
    [
        ({}, None),
        ({"sec-websocket-protocol": "taskferry.v1.json"}, None),
        ({"authorization": f"Bearer {TOKEN}"}, TOKEN),
        ({"authorization": f"bearer {TOKEN}"}, TOKEN),
        ({"authorization": f"BEARER   {JWT} "}, JWT),
        ({"authorization": "Bearer abc+/~=="}, "abc+/~=="),
        ({"sec-websocket-protocol": f"taskferry.v1.json, taskferry.token.{TOKEN}"}, TOKEN),
        ({"sec-websocket-protocol": f"taskferry.token.{JWT},taskferry.v1.json"}, JWT),
        ({"authorization": f"Bearer {TOKEN}", "sec-websocket-protocol": f"taskferry.token.{TOKEN}"}, TOKEN),
        ({"authorization": f"Bearer {'t' * TOKEN_LENGTH_MAX}"}, "t" * TOKEN_LENGTH_MAX),
    ],
)
def test_a_token_is_found(headers: dict[str, str], token: str | None) -> None:
    assert token_in(headers) == token


@each_case(
    ("headers", "status", "text"),
    [
        ({"authorization": f"Basic {TOKEN}"}, 401, "expected Bearer"),
        ({"authorization": TOKEN}, 401, "expected Bearer"),
        ({"authorization": ""}, 401, "expected Bearer"),
        ({"authorization": "Bearer"}, 401, "or is empty"),
        ({"authorization": "Bearer "}, 401, "or is empty"),
        ({"authorization": f"Bearer {TOKEN} and more"}, 401, "characters that no token has"),
        ({"authorization": f"Bearer {TOKEN}, Bearer {JWT}"}, 401, "characters that no token has"),
        ({"authorization": f"Bearer {TOKEN}\u00fc"}, 401, "characters that no token has"),
        ({"authorization": f"Bearer {'t' * (TOKEN_LENGTH_MAX + 1)}"}, 401, "over 8000 characters"),
        ({"sec-websocket-protocol": "taskferry.token."}, 401, "or is empty"),
        ({"sec-websocket-protocol": f"taskferry.token.{TOKEN}, taskferry.token.{JWT}"}, 400, "two different"),
        (
            {"authorization": f"Bearer {JWT}", "sec-websocket-protocol": f"taskferry.token.{TOKEN}"},
            400,
            "two different",
        ),
    ],
)
def test_what_cannot_be_a_token_is_refused_and_not_quoted(
    headers: dict[str, str], status: int, text: str
) -> None:
    with pytest.raises(BadToken, match=text) as caught:
        token_in(headers)
    assert caught.value.status == status
    assert TOKEN not in str(caught.value)
    assert JWT not in str(caught.value)
