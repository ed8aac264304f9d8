"""`data` to parameters: conversion, defaults, and the one line that a requester reads if it does not fit."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypedDict

import msgspec
import pytest
from msgspec import Meta, Raw, Struct
from taskferry.protocol.encodings import Encoding
from taskferry.worker import Context
from taskferry.worker.binding import Binding, BindingError

from tests.each_case import each_case


class Point(Struct):
    x: int
    y: int = 0


@dataclass
class Size:
    width: int
    height: int


class Options(TypedDict):
    depth: int


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


Encode = Callable[[object], bytes]


@pytest.fixture(params=list(Encoding), ids=lambda encoding: encoding.value)
def encoding(request: pytest.FixtureRequest) -> Encoding:
    assert isinstance(request.param, Encoding)
    return request.param


def bind(function: Callable[..., Any], data: object, encoding: Encoding = Encoding.JSON) -> Any:
    """What the function is called with, positional and keyword."""
    library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
    return Binding(function).binder(encoding)(Raw(library.encode(data)))


def call(function: Callable[..., Any], data: object, encoding: Encoding = Encoding.JSON) -> Any:
    positional, keywords = bind(function, data, encoding)
    return function(*positional, **keywords)


def refusal(function: Callable[..., Any], data: object, encoding: Encoding = Encoding.JSON) -> str:
    with pytest.raises(BindingError) as caught:
        bind(function, data, encoding)
    return str(caught.value)


def resize(url: str, width: int = 640, *, quality: float = 0.8) -> tuple[str, int, float]:
    return url, width, quality


def test_keys_become_parameters_and_defaults_fill_the_rest(encoding: Encoding) -> None:
    assert call(resize, {"url": "a"}, encoding) == ("a", 640, 0.8)
    assert call(resize, {"quality": 1, "width": 2, "url": "b"}, encoding) == ("b", 2, 1.0)
    assert isinstance(call(resize, {"url": "b", "quality": 1}, encoding)[2], float)


def test_annotations_are_what_values_become() -> None:
    def handler(point: Point, size: Size, options: Options, color: Color, points: list[Point]) -> Any:
        return point, size, options, color, points

    data = {
        "point": {"x": 1},
        "size": {"width": 2, "height": 3},
        "options": {"depth": 4},
        "color": "blue",
        "points": [{"x": 5, "y": 6}],
    }
    assert call(handler, data) == (Point(1), Size(2, 3), {"depth": 4}, Color.BLUE, [Point(5, 6)])


def test_without_annotation_anything_goes() -> None:
    def handler(value, other: object = None):  # type: ignore[no-untyped-def]
        return value, other

    assert call(handler, {"value": [1, "a", None], "other": {"b": True}}) == ([1, "a", None], {"b": True})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "url: missing parameter"),
        ({"url": 1}, "url: Expected `str`, got `int`"),
        ({"url": "a", "width": "1"}, "width: Expected `int`, got `str`"),
        ({"url": "a", "width": True}, "width: Expected `int`, got `bool`"),
        ({"url": "a", "width": 1.5}, "width: Expected `int`, got `float`"),
        ({"url": "a", "height": 1}, "height: unexpected parameter; the command takes url, width, quality"),
        ([], "data: Expected `object`, got `array`; the command takes url, width, quality"),
        ("x", "data: Expected `object`, got `str`; the command takes url, width, quality"),
    ],
)
def test_what_does_not_fit_is_reported_by_name(data: object, expected: str, encoding: Encoding) -> None:
    assert refusal(resize, data, encoding) == expected


def test_null_is_no_object() -> None:
    assert (
        refusal(resize, None) == "data: Expected `object`, got `null`; the command takes url, width, quality"
    )


def test_the_place_inside_a_value_is_reported() -> None:
    def handler(points: list[Point], size: Annotated[int, Meta(ge=1)] = 1) -> None: ...

    assert refusal(handler, {"points": [{"x": 1}, {"x": "a"}]}) == "points[1].x: Expected `int`, got `str`"
    assert refusal(handler, {"points": [{}]}) == "points[0]: Object missing required field `x`"
    assert refusal(handler, {"points": [], "size": 0}) == "size: Expected `int` >= 1"


def test_choices_are_listed() -> None:
    def handler(op: Literal["+", "-"], color: Color = Color.RED) -> None: ...

    assert refusal(handler, {"op": "^"}) == "op: Invalid enum value '^', expected one of +, -"
    assert (
        refusal(handler, {"op": "+", "color": "x"})
        == "color: Invalid enum value 'x', expected one of red, blue"
    )


def test_a_command_without_parameters_takes_nothing(encoding: Encoding) -> None:
    def handler() -> str:
        return "done"

    assert call(handler, {}, encoding) == "done"
    assert refusal(handler, {"a": 1}, encoding) == "a: unexpected parameter; the command takes none"


def test_bytes_that_are_no_value_are_refused() -> None:
    with pytest.raises(BindingError, match=r"^data: MessagePack data is malformed"):
        Binding(resize).binder(Encoding.MSGPACK)(Raw(b"\xc1"))
    with pytest.raises(BindingError, match=r"^data: .* recursion"):
        Binding(lambda value: value).binder(Encoding.JSON)(
            Raw(b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        )


@pytest.mark.parametrize("data", [[1, 2], "text", None, 3.5, {"a": 1}, {"data": 1}, {}])
def test_a_sole_parameter_named_data_takes_the_whole(data: object, encoding: Encoding) -> None:
    def handler(data, context: Context = None):  # type: ignore[no-untyped-def, assignment]
        return data

    assert call(handler, data, encoding) == data


def test_a_sole_parameter_named_data_is_converted_too() -> None:
    def handler(data: list[int]) -> list[int]:
        return data

    assert call(handler, [1, 2]) == [1, 2]
    assert refusal(handler, [1, "2"]) == "[1]: Expected `int`, got `str`"
    assert refusal(handler, {}) == "data: Expected `array`, got `object`"


def test_data_beside_others_is_a_parameter_like_any_other() -> None:
    def handler(data: int, other: int = 0) -> tuple[int, int]:
        return data, other

    assert call(handler, {"data": 1}) == (1, 0)
    assert refusal(handler, 1) == "data: Expected `object`, got `int`; the command takes data, other"


def test_keywords_take_the_rest(encoding: Encoding) -> None:
    def handler(first: int, **rest: Any) -> tuple[int, dict[str, Any]]:
        return first, rest

    assert call(handler, {"first": 1, "b": "2", "c": [3]}, encoding) == (1, {"b": "2", "c": [3]})
    assert call(handler, {"first": 1}, encoding) == (1, {})
    assert refusal(handler, {"b": 1}, encoding) == "first: missing parameter"
    assert refusal(handler, [], encoding) == "data: Expected `object`, got `array`; the command takes first"


def test_the_rest_is_converted_and_cannot_pose_as_the_context() -> None:
    def handler(context: Context, **rest: int) -> dict[str, int]:
        return rest

    assert call(lambda **rest: rest, {"a": 1}) == {"a": 1}
    assert refusal(handler, {"a": "1"}) == "a: Expected `int`, got `str`"
    assert refusal(handler, {"context": 1}) == "context: unexpected parameter"


def test_the_context_may_stand_anywhere_and_have_any_name() -> None:
    def middle(first: int, told: Context, second: int, /, third: int = 3) -> None: ...

    def handler(first: int, told: Context, second: int = 2) -> None: ...

    assert Binding(handler).context_name == "told"
    assert bind(handler, {"first": 1}) == ((1,), {"second": 2})
    assert (
        refusal(handler, {"first": 1, "told": 1})
        == "told: unexpected parameter; the command takes first, second"
    )
    with pytest.raises(TypeError, match="told: a Context is passed by keyword"):
        Binding(middle)


def test_annotations_may_be_strings() -> None:
    def handler(point: "Point", told: "Context") -> Point:
        return point

    assert Binding(handler).context_name == "told"
    assert bind(handler, {"point": {"x": 1}}) == ((Point(1),), {})


def test_a_mutable_default_is_one_object_as_in_python() -> None:
    shared: list[int] = []

    def handler(items: list[int] = shared, more: frozenset[int] = frozenset({1})) -> Any:
        return items, more

    assert call(handler, {})[0] is shared
    assert call(handler, {})[1] == frozenset({1})


def test_positional_only_and_keyword_only_parameters() -> None:
    def handler(a: int, /, b: int, *, c: int) -> tuple[int, int, int]:
        return a, b, c

    assert call(handler, {"c": 3, "b": 2, "a": 1}) == (1, 2, 3)


def variadic(*values: int) -> None: ...
def of_path(path: Path) -> None: ...
def of_optional_path(path: Path | None) -> None: ...
def of_old_optional(path: Optional[Path] = None) -> None: ...  # noqa: UP045  # users write it
def of_two_customs(value: int | Path) -> None: ...
def of_optional_context(context: Context | None = None) -> None: ...
def of_two_contexts(one: Context, two: Context) -> None: ...
def of_unknown(value: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@each_case(
    ("function", "expected"),
    [
        (variadic, r"\*values: parameters are passed by name"),
        (of_path, "path: no value of `data` can become a Path"),
        (of_optional_path, "path: no value of `data` can become a Path"),
        (of_old_optional, "path: no value of `data` can become a Path"),
        (of_two_customs, "value: Type unions containing a custom type"),
        (of_optional_context, "context: no value of `data` can become a Context"),
        (of_two_contexts, "two: there is already a Context, one"),
        (of_unknown, "an annotation cannot be resolved: name 'Nowhere' is not defined"),
    ],
)
def test_signatures_that_cannot_be_served_are_refused_at_registration(
    function: Callable[..., Any], expected: str
) -> None:
    with pytest.raises(TypeError, match=f"^{expected}"):
        Binding(function)


def test_an_error_of_a_users_own_type_is_reported() -> None:
    class Even(Struct):
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError("not even")

    def handler(even: Even) -> None: ...

    handler.__annotations__["even"] = Even
    assert refusal(handler, {"even": {"number": 1}}) == "even: not even"
