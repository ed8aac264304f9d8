"""What the annotations of a handler's parameters allow, at any depth: types that `data` can become, and keys that they
name.

msgspec finds both out only as it decodes, or not at all: a type that it cannot make fails each request and blames the
requester, and a key that a dataclass does not name is dropped. So a handler with such a type is refused when it is
registered, and such a key as at the top of `data`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, get_origin

from msgspec import Struct
from msgspec import inspect as types

from ..protocol.encodings import Encoding


class UnknownKey(NamedTuple):
    """A key that the type of a value does not name, with the place of that value and the `names` that it may have."""

    place: str
    key: str
    names: tuple[str, ...]

    def inside(self, place: str) -> "UnknownKey":
        """The same, seen from outside."""
        return self._replace(place=place + self.place)

    def line(self, name: str) -> str:
        """What the requester gets, for a parameter of this name."""
        where = name + self.place
        return f"{where}.{self.key}: unexpected key; {where} takes {', '.join(self.names) or 'none'}"


KeyCheck = Callable[[Any], UnknownKey | None]

Part = tuple[str, types.Type]
"""A type inside another one, with its place there: `[]`, `.width`."""

_NO_KEYS_OF_JSON: Final = (
    types.BoolType,
    types.NoneType,
    types.CollectionType,
    types.TupleType,
    types.DictType,
    types.StructType,
    types.DataclassType,
    types.TypedDictType,
    types.NamedTupleType,
)
"""The keys of a JSON object are texts, from which numbers, dates and enums can be made."""

_NEVER_HASHABLE: Final = (
    types.ListType,
    types.SetType,
    types.DictType,
    types.TypedDictType,
    types.ByteArrayType,
)


def check_type(place: str, info: types.Type) -> None:
    """Raise TypeError, with the place, for a type that no `data` can become."""
    for where, part in parts_of(info, place):
        match part:
            case types.CustomType(cls=kind) if kind is not object:
                raise TypeError(f"{where}: no value of `data` can become a {_name_of(kind)}")
            case types.SetType(item_type=item) | types.FrozenSetType(item_type=item) if not _is_hashable(
                item
            ):
                raise TypeError(f"{where}: the items of a set must be hashable")
            case types.DictType(key_type=key) if not _is_hashable(key):
                raise TypeError(f"{where}: the keys of a dictionary must be hashable")


def check_keys(place: str, info: types.Type, encoding: Encoding) -> None:
    """Raise TypeError, with the place, for a dictionary whose keys `encoding` cannot hold."""
    if encoding is not Encoding.JSON:
        return
    for where, part in parts_of(info, place):
        if isinstance(part, types.DictType) and isinstance(_bare(part.key_type), _NO_KEYS_OF_JSON):
            raise TypeError(f"{where}: no key of a JSON object can become one of this dictionary")


def runs_code(info: types.Type) -> bool:
    """Whether making such a value runs code of the user's, or changes the context in another way."""
    for _, part in parts_of(info):
        match part:
            case types.DecimalType():  # uses the context of `decimal`
                return True
            case types.StructType(cls=alias) | types.DataclassType(cls=alias):
                kind = get_origin(alias) or alias
                if hasattr(kind, "__post_init__") or hasattr(kind, "__attrs_post_init__"):
                    return True
            case types.EnumType(cls=kind) if "_missing_" in vars(kind):
                return True
    return False


def key_check(info: types.Type) -> KeyCheck | None:
    """A function that finds in a decoded value of this type a key that its type does not name; None if there can be
    none that matters.

    Types whose keys are checked: dataclasses and TypedDicts. A Struct says itself whether it forbids others.
    """
    return _Checks().of(info)


def parts_of(info: types.Type, place: str = "") -> Iterator[Part]:
    """The type itself, and all inside it, each once."""
    seen: set[int] = set()
    waiting = [(place, info)]
    while waiting:
        where, part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield where, part
        waiting += [(where + inside, inner) for inside, inner in reversed(_inner(part))]


def _inner(info: types.Type) -> list[Part]:
    match info:
        case types.Metadata(type=inner):
            return [("", inner)]
        case types.UnionType(types=members):
            return [("", member) for member in members]
        case types.DictType(key_type=key, value_type=value):
            return [("{}", key), ("[]", value)]
        case types.TupleType(item_types=items):
            return [(f"[{position}]", item) for position, item in enumerate(items)]
        case types.CollectionType(item_type=item):
            return [("[]", item)]
        case types.StructType() | types.DataclassType() | types.TypedDictType() | types.NamedTupleType():
            return [(f".{field.encode_name}", field.type) for field in info.fields]
        case _:
            return []


class _Checks:
    """Makes the functions for one type and all inside it. A value that is checked has its type, and so ends; a type may
    contain itself."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[int, KeyCheck] = {}

    def of(self, info: types.Type) -> KeyCheck | None:
        if not any(isinstance(part, types.DataclassType | types.TypedDictType) for _, part in parts_of(info)):
            return None
        made, key = self._made, id(info)
        if key not in made:

            def check_later(value: Any) -> UnknownKey | None:
                return made[key](value)

            made[key] = check_later  # for this type inside itself
            made[key] = self._make(info)
        return made[key]

    def _make(self, info: types.Type) -> KeyCheck:
        match info:
            case types.Metadata(type=inner):
                return self._make(inner)
            case types.UnionType(types=members):
                return _any_of([check for member in members if (check := self.of(member))])
            case types.DictType(value_type=inner):
                return _each_value(self.of(inner) or _fits)
            case types.TupleType(item_types=inners):
                return _by_position([self.of(inner) for inner in inners])
            case types.CollectionType(item_type=inner):
                return _each_item(self.of(inner) or _fits)
            case types.NamedTupleType(fields=fields):
                return _by_position([self.of(field.type) for field in fields])
            case types.StructType(fields=fields, array_like=True):
                return _by_position([self.of(field.type) for field in fields])
            case types.StructType(tag_field=tag_field, tag=tag):
                return _of_tag(tag_field, tag, _by_key(self._inner_checks(info)))
            case types.DataclassType() | types.TypedDictType():
                names = tuple(field.encode_name for field in info.fields)
                return _closed(names, _by_key(self._inner_checks(info)))
            case _:
                return _fits

    def _inner_checks(
        self, info: types.StructType | types.DataclassType | types.TypedDictType
    ) -> list[tuple[str, KeyCheck]]:
        return [(field.encode_name, check) for field in info.fields if (check := self.of(field.type))]


def _fits(_: Any) -> UnknownKey | None:
    return None


def _any_of(checks: list[KeyCheck]) -> KeyCheck:
    """Those of the members of a union: those of other kinds than the value find nothing."""
    if len(checks) == 1:
        return checks[0]
    return lambda value: next(filter(None, (check(value) for check in checks)), None)


def _closed(names: tuple[str, ...], check_inside: KeyCheck) -> KeyCheck:
    known = frozenset(names)

    def check(value: Any) -> UnknownKey | None:
        if not isinstance(value, dict):
            return None
        if not known.issuperset(value):
            return UnknownKey("", min(value.keys() - known), names)
        return check_inside(value)

    return check


def _by_key(inner: list[tuple[str, KeyCheck]]) -> KeyCheck:
    if not inner:
        return _fits

    def check(value: Any) -> UnknownKey | None:
        for name, check_inside in inner:
            if name in value and (found := check_inside(value[name])) is not None:
                return found.inside(f".{name}")
        return None

    return check


def _of_tag(tag_field: str | None, tag: str | int | None, check_inside: KeyCheck) -> KeyCheck:
    """Of a union's structures, only the one that the value is."""

    def check(value: Any) -> UnknownKey | None:
        is_this = isinstance(value, dict) and (tag_field is None or value.get(tag_field) == tag)
        return check_inside(value) if is_this else None

    return check


def _each_value(check_inside: KeyCheck) -> KeyCheck:
    def check(value: Any) -> UnknownKey | None:
        if isinstance(value, dict):
            for item in value.values():
                if (found := check_inside(item)) is not None:
                    return found.inside("[...]")
        return None

    return check


def _each_item(check_inside: KeyCheck) -> KeyCheck:
    def check(value: Any) -> UnknownKey | None:
        if isinstance(value, list):
            for position, item in enumerate(value):
                if (found := check_inside(item)) is not None:
                    return found.inside(f"[{position}]")
        return None

    return check


def _by_position(inner: list[KeyCheck | None]) -> KeyCheck:
    def check(value: Any) -> UnknownKey | None:
        if isinstance(value, list):
            for position, (item, check_inside) in enumerate(zip(value, inner, strict=False)):
                if check_inside is not None and (found := check_inside(item)) is not None:
                    return found.inside(f"[{position}]")
        return None

    return check


def _is_hashable(info: types.Type) -> bool:
    match _bare(info):
        case types.StructType(cls=alias):
            kind = get_origin(alias) or alias
            config = kind.__struct_config__
            return config.frozen or not config.eq or kind.__hash__ is not Struct.__hash__
        case types.DataclassType(cls=alias):
            return (get_origin(alias) or alias).__hash__ is not None
        case types.TupleType(item_types=items):
            return all(map(_is_hashable, items))
        case types.VarTupleType(item_type=item):
            return _is_hashable(item)
        case bare:
            return not isinstance(bare, _NEVER_HASHABLE)


def _bare(info: types.Type) -> types.Type:
    return _bare(info.type) if isinstance(info, types.Metadata) else info


def _name_of(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
