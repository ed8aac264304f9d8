"""A token is shown nowhere, and what cannot be one is said without quoting it."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.credentials.token import Token, problem_of
from taskferry.protocol.limits import TOKEN_LENGTH_MAX

SECRET = "tfk_marked-and-never-shown"


def test_only_reveal_shows_it() -> None:
    token = Token(SECRET)
    assert token.reveal() == SECRET
    assert SECRET not in f"{token} {token!r} {[token]} {{{token}}}"
    assert token == Token(SECRET)
    assert token != Token("x")
    assert token != SECRET
    assert len({token, Token(SECRET)}) == 1


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_copied(copied: object) -> None:
    with pytest.raises(TypeError, match="not pickled or copied"):
        copied(Token(SECRET))  # type: ignore[operator]


@pytest.mark.parametrize("text", ["x", "x" * TOKEN_LENGTH_MAX, "a.b-c_d~e+f/g==", "0aZ-._~+/="])
def test_these_characters_are_a_token(text: str) -> None:
    assert problem_of(text) is None


@given(st.text() | st.binary() | st.none() | st.integers())
def test_anything_else_is_named_without_quoting_it(value: object) -> None:
    problem = problem_of(value)
    if problem is None:
        assert isinstance(value, str)
        assert f"Bearer {value}".encode("ascii").split() == [b"Bearer", value.encode()]
    else:
        assert problem.isascii()
        assert problem.isprintable()
