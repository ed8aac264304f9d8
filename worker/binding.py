"""How `data` becomes the arguments of a handler: worked out once from its signature, then one compiled decode per call.

The parameters become a msgspec structure, so that one pass over the raw bytes parses, checks and converts them.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..protocol.codec import DECODE_ERRORS
from ..protocol.encodings import Encoding
from .context import Context

WHOLE_PARAMETER: Final = "data"
"""A handler whose only parameter has this name receives `data` whole, whatever it is."""

_UNEXPECTED: Final = re.compile(r"Object contains unknown field `(.+)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_CHOICE: Final = re.compile(r"Invalid enum value .+ - at `\$\.(\w+)`", re.DOTALL)
_NO_KEYWORDS: Final[dict[str, Any]] = {}
_LIBRARIES: Final = {Encoding.JSON: msgspec.json, Encoding.MSGPACK: msgspec.msgpack}

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Decode = Callable[[Raw], Any]


class BindingError(Exception):
    """`data` does not fit the handler's parameters: the requester's error, described in one line."""


class Binding:
    """The parameters of one handler.

    `context_name` is the parameter that takes the Context, None if there is none. Making one raises TypeError
    for a signature that cannot be served: `*args`, a positional-only Context, an annotation that no JSON value fits.
    """

    __slots__ = (
        "_choices",
        "_is_whole",
        "_keyword_names",
        "_positional_count",
        "_rest_type",
        "_type",
        "context_name",
        "names",
    )

    def __init__(self, function: Callable[..., object]) -> None:
        self.context_name: str | None = None
        self._rest_type: Any = None
        fields: list[inspect.Parameter] = []
        positional_count = 0
        for parameter in _signature(function).parameters.values():
            if parameter.annotation is Context:
                self._take_context(parameter)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                raise TypeError(f"*{parameter.name}: parameters are passed by name")
            elif parameter.kind is parameter.VAR_KEYWORD:
                self._rest_type = _checked_type(parameter)
            else:
                fields.append(parameter)
                # After the context everything is passed by keyword, so that the context may be in any place.
                positional_count += parameter.kind is not parameter.KEYWORD_ONLY and self.context_name is None
        self.names = tuple(parameter.name for parameter in fields)
        self._positional_count = positional_count
        self._keyword_names = self.names[positional_count:]
        self._is_whole = self.names == (WHOLE_PARAMETER,) and self._rest_type is None
        self._choices = {parameter.name: text for parameter in fields if (text := _choices(parameter))}
        if self._is_whole:
            self._type = _checked_type(fields[0])
        else:
            self._type = _arguments_type(fields, is_open=self._rest_type is not None)

    def binder(self, encoding: Encoding) -> Callable[[Raw], Arguments]:
        """A function from raw `data` in `encoding` to positional and keyword arguments; it raises BindingError.

        The Context is not among them: the caller adds it under `context_name`.
        """
        library = _LIBRARIES[encoding]
        decode: Decode = library.Decoder(self._type).decode
        if self._is_whole:
            return self._bind_whole(decode)
        if self._rest_type is not None:
            split = library.Decoder(dict[str, Raw]).decode
            return self._bind_with_rest(decode, split, library.Decoder(self._rest_type).decode)
        return self._bind_named(decode)

    def _take_context(self, parameter: inspect.Parameter) -> None:
        if self.context_name is not None:
            raise TypeError(f"{parameter.name}: there is already a Context, {self.context_name}")
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{parameter.name}: a Context is passed by keyword")
        self.context_name = parameter.name

    def _bind_named(self, decode: Decode) -> Callable[[Raw], Arguments]:
        astuple = msgspec.structs.astuple
        positional_count = self._positional_count
        keyword_names = self._keyword_names

        def bind(data: Raw) -> Arguments:
            try:
                values = astuple(decode(data))
            except DECODE_ERRORS as error:
                raise BindingError(self._describe(error)) from None
            if not keyword_names:
                return values, _NO_KEYWORDS
            return values[:positional_count], dict(zip(keyword_names, values[positional_count:], strict=True))

        return bind

    def _bind_whole(self, decode: Decode) -> Callable[[Raw], Arguments]:
        def bind(data: Raw) -> Arguments:
            try:
                return (decode(data),), _NO_KEYWORDS
            except DECODE_ERRORS as error:
                raise BindingError(_at("", str(error))) from None

        return bind

    def _bind_with_rest(
        self, decode: Decode, split: Decode, decode_rest: Decode
    ) -> Callable[[Raw], Arguments]:
        bind_named = self._bind_named(decode)
        names = frozenset(self.names)

        def bind(data: Raw) -> Arguments:
            values, keywords = bind_named(data)
            rest = {}
            for name, value in split(data).items():
                if name in names:
                    continue
                if name == self.context_name:
                    raise BindingError(f"{name}: unexpected parameter")
                try:
                    rest[name] = decode_rest(value)
                except DECODE_ERRORS as error:
                    raise BindingError(_at(name, str(error))) from None
            return values, {**keywords, **rest}

        return bind

    def _describe(self, error: Exception) -> str:
        text = str(error)
        if (choice := _CHOICE.fullmatch(text)) is not None and choice[1] in self._choices:
            return f"{_at('', text)}, expected one of {self._choices[choice[1]]}"
        if " - at " in text or not isinstance(error, msgspec.ValidationError):
            return _at("", text)
        if (missing := _MISSING.fullmatch(text)) is not None:
            return f"{missing[1]}: missing parameter"
        if (unexpected := _UNEXPECTED.fullmatch(text)) is not None:
            return f"{unexpected[1]}: unexpected parameter; {self._taken()}"
        return f"data: {text}; {self._taken()}"

    def _taken(self) -> str:
        return f"the command takes {', '.join(self.names)}" if self.names else "the command takes none"


def _signature(function: Callable[..., object]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise TypeError(f"an annotation cannot be resolved: {error}") from None


def _checked_type(parameter: inspect.Parameter) -> Any:
    """The parameter's annotation, if JSON and MessagePack can be decoded to it; else raises TypeError."""
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    try:
        info = msgspec.inspect.type_info(annotation)
    except TypeError as error:
        raise TypeError(f"{parameter.name}: {error}") from None
    for part in info.types if isinstance(info, msgspec.inspect.UnionType) else (info,):
        if isinstance(part, msgspec.inspect.CustomType) and part.cls is not object:
            name = getattr(part.cls, "__name__", part.cls)
            raise TypeError(f"{parameter.name}: no value of `data` can become a {name}")
    return annotation


def _choices(parameter: inspect.Parameter) -> str:
    """The values that a Literal or Enum parameter accepts, for people; empty for all others."""
    info = msgspec.inspect.type_info(_checked_type(parameter))
    if isinstance(info, msgspec.inspect.LiteralType):
        return ", ".join(map(str, info.values))
    if isinstance(info, msgspec.inspect.EnumType):
        return ", ".join(str(member.value) for member in info.cls)
    return ""


def _arguments_type(fields: list[inspect.Parameter], *, is_open: bool) -> type:
    """A structure with one field per parameter. `is_open`: keys that are no parameter are ignored."""
    definitions: list[Any] = []
    for parameter in fields:
        annotation = _checked_type(parameter)
        if parameter.default is parameter.empty:
            definitions.append((parameter.name, annotation))
        else:
            definitions.append((parameter.name, annotation, _default(parameter.default)))
    # Keyword-only, so that fields keep the signature's order whichever of them have defaults.
    return msgspec.defstruct(
        "Arguments", definitions, kw_only=True, gc=False, forbid_unknown_fields=not is_open
    )


def _default(value: object) -> Any:
    """`value` as a structure's default. A mutable one is the same object in each call, as in Python."""
    if value is None or isinstance(value, bool | int | float | str | bytes | tuple):
        return value
    return msgspec.field(default_factory=lambda: value)


def _at(name: str, text: str) -> str:
    """msgspec's `Expected int, got str - at $.sizes[0]` with the place first: `sizes[0]: Expected int, got str`."""
    what, _, path = text.partition(" - at ")
    where = (name + path.strip("`").removeprefix("$")).removeprefix(".")
    return f"{where or WHOLE_PARAMETER}: {what}"
