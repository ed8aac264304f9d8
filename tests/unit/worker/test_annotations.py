"""Types at any depth: those that no `data` can become are refused at registration, and keys that they do not name with
each request."""

import collections
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pytest
from msgspec import Meta, Raw, Struct
from taskferry.protocol.encodings import Encoding
from taskferry.worker import Worker
from taskferry.worker.binding import Binding, BindingError

from tests.each_case import each_case

Item = TypeVar("Item")


class Model:
    """As those of a library that msgspec does not know."""


@dataclass
class Size:
    width: int
    height: int = 0


@dataclass(frozen=True)
class Spot:
    x: int


class Options(TypedDict, total=False):
    depth: int
    size: Size


class Pair(NamedTuple):
    name: str
    size: Size


@dataclass
class Tree:
    name: str
    kids: list["Tree"] = field(default_factory=list)


@dataclass
class Box(Generic[Item]):
    content: Item


class Open(Struct):
    size: Size | None = None


class Rows(Struct, array_like=True):
    first: Size


class Small(Struct, tag="small"):
    size: Size


class Large(Struct, tag="large"):
    size: Size
    more: int = 0


class Frozen(Struct, frozen=True):
    x: int


@dataclass
class WithModel:
    model: Model


@dataclass
class WithPath:
    path: Path = Path()


class PathRow(NamedTuple):
    path: Path


class PathOptions(TypedDict):
    path: Path


class PathStruct(Struct, rename="camel"):
    the_path: dict[str, list[Path]]


def taking(annotation: Any) -> Callable[..., Any]:
    def handler(value: Any) -> Any:
        return value

    handler.__annotations__["value"] = annotation
    return handler


@each_case(
    ("annotation", "expected"),
    [
        (list[Model], r"value\[\]: no value of `data` can become a Model"),
        (list[Path] | None, r"value\[\]: no value of `data` can become a Path"),
        (dict[str, tuple[int, Path]], r"value\[\]\[1\]: no value of `data` can become a Path"),
        (Mapping[Path, int], r"value{}: no value of `data` can become a Path"),
        (Annotated[list[Path], Meta(description="x")], r"value\[\]: no value of `data` can become a Path"),
        (Annotated[Path, Meta(description="x")], "value: no value of `data` can become a Path"),
        (WithModel, r"value\.model: no value of `data` can become a Model"),
        (list[WithPath], r"value\[\]\.path: no value of `data` can become a Path"),
        (PathRow, r"value\.path: no value of `data` can become a Path"),
        (PathOptions, r"value\.path: no value of `data` can become a Path"),
        (PathStruct, r"value\.thePath\[\]\[\]: no value of `data` can become a Path"),
        (Box[set[Path]], r"value\.content\[\]: no value of `data` can become a Path"),
        (Sequence[Iterable[int]], r"value\[\]: no value of `data` can become a "),
        (list[collections.deque[int]], r"value\[\]: no value of `data` can become a "),
        (set[list[int]], "value: the items of a set must be hashable"),
        (frozenset[Size], "value: the items of a set must be hashable"),
        (list[set[tuple[int, Open]]], r"value\[\]: the items of a set must be hashable"),
        (dict[Size, int], "value: the keys of a dictionary must be hashable"),
    ],
)
def test_a_type_that_no_data_can_become_is_refused(annotation: Any, expected: str) -> None:
    with pytest.raises(TypeError, match=f"^command 'it': {expected}"):
        Worker().command("it")(taking(annotation))


def test_so_is_one_among_the_parameters_that_have_no_name() -> None:
    def handler(**rest: list[Path]) -> None: ...

    with pytest.raises(TypeError, match=r"rest\[\]: no value of `data` can become a Path"):
        Worker().command()(handler)


@each_case(
    "annotation",
    [
        Tree,
        list[Tree],
        Box[Size],
        object,
        list[object],
        dict[str, Any],
        set[Spot],
        set[Frozen],
        set[tuple[int, ...]],
        dict[tuple[int, int], str],
        frozenset[frozenset[int]],
        Small | Large,
    ],
)
def test_all_others_are_served(annotation: Any) -> None:
    Worker().command("it")(taking(annotation))


def test_what_only_json_has_no_key_for_is_refused_by_a_worker_that_speaks_json() -> None:
    worker = Worker()
    for name, annotation in (("pairs", dict[tuple[int, int], str]), ("flags", list[dict[bool, int]])):
        worker.command(name)(taking(annotation))
        worker.commands[name].binder(Encoding.MSGPACK)
        with pytest.raises(
            ValueError, match=rf"^command '{name}': value.*: no key of a JSON object can become one"
        ):
            worker.commands[name].binder(Encoding.JSON)
    worker.command("levels")(taking(dict[int, str]))
    worker.commands["levels"].binder(Encoding.JSON)


def bind(function: Callable[..., Any], data: object, encoding: Encoding = Encoding.JSON) -> Any:
    library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
    positional, keywords = Binding(function).binder(encoding)(Raw(library.encode(data)))
    return function(*positional, **keywords)


@each_case(
    ("annotation", "data", "expected"),
    [
        (Size, {"width": 1, "depth": 2}, "value.depth: unexpected key; value takes width, height"),
        (Size | None, {"width": 1, "depth": 2}, "value.depth: unexpected key; value takes width, height"),
        (
            list[Size],
            [{"width": 1}, {"width": 1, "x": 2}],
            "value[1].x: unexpected key; value[1] takes width, height",
        ),
        (
            dict[str, Size],
            {"a": {"width": 1, "x": 2}},
            "value[...].x: unexpected key; value[...] takes width, height",
        ),
        (
            tuple[int, Size],
            [1, {"width": 1, "x": 2}],
            "value[1].x: unexpected key; value[1] takes width, height",
        ),
        (Options, {"deep": 1}, "value.deep: unexpected key; value takes depth, size"),
        (
            Options,
            {"size": {"width": 1, "x": 2}},
            "value.size.x: unexpected key; value.size takes width, height",
        ),
        (
            Pair,
            ["a", {"width": 1, "x": 2}],
            "value[1].x: unexpected key; value[1] takes width, height",
        ),
        (
            Tree,
            {"name": "a", "kids": [{"name": "b", "kid": []}]},
            "value.kids[0].kid: unexpected key; value.kids[0] takes name, kids",
        ),
        (
            Box[Size],
            {"content": {"width": 1, "x": 2}},
            "value.content.x: unexpected key; value.content takes width, height",
        ),
        (
            Open,
            {"size": {"width": 1, "x": 2}},
            "value.size.x: unexpected key; value.size takes width, height",
        ),
        (Rows, [{"width": 1, "x": 2}], "value[0].x: unexpected key; value[0] takes width, height"),
        (
            Small | Large,
            {"type": "large", "size": {"width": 1, "x": 2}},
            "value.size.x: unexpected key; value.size takes width, height",
        ),
        (
            Annotated[list[Size], Meta(description="x")],
            [{"width": 1, "x": 2}],
            "value[0].x: unexpected key; value[0] takes width, height",
        ),
    ],
)
def test_a_key_that_a_type_does_not_name_is_refused(annotation: Any, data: Any, expected: str) -> None:
    for encoding in Encoding:
        with pytest.raises(BindingError) as caught:
            bind(taking(annotation), {"value": data}, encoding)
        assert str(caught.value) == expected


def test_so_is_one_in_data_as_a_whole_and_in_what_has_no_name() -> None:
    def whole(data: Size) -> Size:
        return data

    def rest(first: int = 0, **rest: Size) -> dict[str, Size]:
        return rest

    assert bind(whole, {"width": 1}) == Size(1)
    assert bind(rest, {"first": 1, "a": {"width": 1}}) == {"a": Size(1)}
    with pytest.raises(BindingError, match=r"^data\.x: unexpected key; data takes width, height$"):
        bind(whole, {"width": 1, "x": 2})
    with pytest.raises(BindingError, match=r"^a\.x: unexpected key; a takes width, height$"):
        bind(rest, {"a": {"width": 1, "x": 2}})
    with pytest.raises(BindingError, match=r"^first: Expected `int`, got `str`$"):
        bind(rest, {"first": "x", "a": {"width": 1, "x": 2}})


@each_case(
    ("annotation", "data"),
    [
        (Size, {"width": 1}),
        (Size | None, None),
        (Options, {}),
        (Tree, {"name": "a", "kids": [{"name": "b"}]}),
        (Open, {"size": None, "a key that a structure may ignore": 1}),
        (Small | Large, {"type": "large", "size": {"width": 1}, "more": 2}),
        (Size | list[int] | str, [1]),
        (dict[str, Any], {"anything": {"goes": 1}}),
    ],
)
def test_what_fits_is_bound(annotation: Any, data: Any) -> None:
    for encoding in Encoding:
        bind(taking(annotation), {"value": data}, encoding)


TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


@dataclass
class Setting:
    tenant: str

    def __post_init__(self) -> None:
        TENANT.set(self.tenant)


class Guessed(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> "Guessed":
        TENANT.set(str(value))
        return cls.A


def test_what_a_type_sets_as_it_is_made_is_gone_with_the_request() -> None:
    for annotation, value in ((Setting, {"tenant": "one"}), (list[Setting], [{"tenant": "one"}])):
        bind(taking(annotation), {"value": value})
        assert TENANT.get() == "nobody"
    assert bind(taking(Guessed), {"value": "b"}) is Guessed.A
    assert TENANT.get() == "nobody"


def test_a_decimal_leaves_no_context_behind() -> None:
    # The first one that is made in a context puts one of `decimal` there, which later calls would share.
    def made() -> bool:
        bind(taking(list[Decimal]), {"value": ["1.5"]})
        return any(variable.name == "decimal_context" for variable in copy_context())

    assert Context().run(made) is False
    getcontext()
    assert bind(taking(Decimal), {"value": "1.50"}) == Decimal("1.50")
