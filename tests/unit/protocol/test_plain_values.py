"""What is no plain value, and can be written all the same: subclasses of plain values, and NumPy's scalars."""

import enum
import json
import sys
from types import ModuleType
from typing import Any

import msgspec
import pytest
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding

from tests.each_case import each_case


class Text(str):
    __slots__ = ()


class Count(int): ...


class Share(float): ...


class Rude(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Level(int, enum.Enum):
    HIGH = 3


class Name(enum.StrEnum):
    ADA = "ada"


class Data(bytes): ...


class Buffer(bytearray): ...


def written(value: Any, encoding: Encoding = Encoding.JSON) -> Any:
    library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
    return library.decode(CODECS[encoding].encode(value))


@each_case(
    "value",
    [
        Text("a"),
        Count(3),
        Count(2**63),
        Share(1.5),
        Level.HIGH,
        Name.ADA,
        [Text("a"), {"b": (Count(1), Share(2))}],
        {Text("a"): Share(1), Count(2): Text("b"), Share(1.5): None},
        {True: 1, False: 2, None: 3},
        True,
        None,
    ],
)
def test_json_is_that_of_pythons_own_library(value: Any) -> None:
    assert written(value) == json.loads(json.dumps(value))


@each_case(
    ("value", "plain"),
    [
        (Text("a"), "a"),
        (Rude("a"), "a"),
        (Count(3), 3),
        (Share(1.5), 1.5),
        (Data(b"a"), b"a"),
        (Buffer(b"a"), b"a"),
    ],
)
def test_a_subclass_is_written_as_what_it_is(value: Any, plain: Any) -> None:
    for encoding in Encoding:
        assert CODECS[encoding].encode([value]) == CODECS[encoding].encode([plain])
        if not isinstance(value, bytearray):
            assert CODECS[encoding].encode({value: 1}) == CODECS[encoding].encode({plain: 1})


@pytest.fixture
def numpy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What of NumPy matters here: scalars that know their plain values, and one that has none."""

    class Generic:
        def __init__(self, value: object) -> None:
            self._value = value

        def item(self) -> object:
            return self if self._value is None else self._value

    module = ModuleType("numpy")
    module.generic = Generic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numpy", module)
    return module


@pytest.mark.parametrize("encoding", list(Encoding))
def test_numpys_scalars_are_their_plain_values(numpy: ModuleType, encoding: Encoding) -> None:
    scalars = [numpy.generic(value) for value in (3, 1.5, True, "a", Text("b"))]
    assert written({"values": scalars}, encoding) == {"values": [3, 1.5, True, "a", "b"]}
    with pytest.raises(TypeError, match="objects of type Generic is unsupported"):
        written(numpy.generic(None), encoding)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_what_has_no_plain_value_is_named(encoding: Encoding) -> None:
    for value in (object(), 1j, iter([]), [object()], {"a": {object()}}):
        with pytest.raises(TypeError, match=r"Encoding objects of type .+ is unsupported"):
            written(value, encoding)
