"""How `data` becomes the arguments of a handler: worked out once from its signature, then one compiled decode per call.

The parameters become a msgspec structure, so that one pass over the raw bytes parses, checks and converts them.
"""

import inspect
import re
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec import inspect as types

from ..protocol.codec import DECODE_ERRORS
from ..protocol.encodings import Encoding
from .annotations import KeyCheck, check_keys, check_type, key_check, runs_code
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

_REST: Final = "**"
"""In place of a name, that of what no parameter names."""


class BindingError(Exception):
    """`data` does not fit the handler's parameters: the requester's error, described in one line."""


class Binding:
    """The parameters of one handler.

    `context_name` is the parameter that takes the Context, None if there is none. Making one raises TypeError
    for a signature that cannot be served: `*args`, a positional-only Context, an annotation that no value of `data`
    fits, at any depth.
    """

    __slots__ = (
        "_choices",
        "_infos",
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
        self._infos = {parameter.name: _info_of(parameter) for parameter in fields}
        self._choices = {parameter.name: text for parameter in fields if (text := _choices(parameter))}
        if self._is_whole:
            self._type = _checked_type(fields[0])
        else:
            self._type = _arguments_type(fields, is_open=self._rest_type is not None)

    def binder(self, encoding: Encoding) -> Callable[[Raw], Arguments]:
        """A function from raw `data` in `encoding` to positional and keyword arguments; it raises BindingError.

        The Context is not among them: the caller adds it under `context_name`. Raises TypeError for a parameter that
        this encoding has no value for.
        """
        infos = {**self._infos, **self._info_of_rest()}
        for name, info in infos.items():
            check_keys(name, info, encoding)
        bind = self._binder(encoding)
        checks = {name: check for name, info in infos.items() if (check := key_check(info)) is not None}
        if checks:
            bind = self._bind_without_other_keys(bind, _LIBRARIES[encoding].Decoder().decode, checks)
        return _in_own_context(bind) if any(map(runs_code, infos.values())) else bind

    def _binder(self, encoding: Encoding) -> Callable[[Raw], Arguments]:
        library = _LIBRARIES[encoding]
        decode: Decode = library.Decoder(self._type).decode
        if self._is_whole:
            return self._bind_whole(decode)
        if self._rest_type is not None:
            split = library.Decoder(dict[str, Raw]).decode
            return self._bind_with_rest(decode, split, library.Decoder(self._rest_type).decode)
        return self._bind_named(decode)

    def _info_of_rest(self) -> dict[str, types.Type]:
        return {} if self._rest_type is None else {_REST: types.type_info(self._rest_type)}

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

    def _bind_without_other_keys(
        self, bind: Callable[[Raw], Arguments], decode: Decode, checks: dict[str, KeyCheck]
    ) -> Callable[[Raw], Arguments]:
        """As `bind`, which msgspec alone would do, and refuse what some of its types do not name."""
        rest_check = checks.pop(_REST, None)

        def bind_checked(data: Raw) -> Arguments:
            arguments = bind(data)
            plain = decode(data)
            values = {WHOLE_PARAMETER: plain} if self._is_whole else plain
            for name, check in checks.items():
                if name in values and (unknown := check(values[name])) is not None:
                    raise BindingError(unknown.line(name))
            if rest_check is not None:
                for name in values.keys() - self.names:
                    if (unknown := rest_check(values[name])) is not None:
                        raise BindingError(unknown.line(name))
            return arguments

        return bind_checked

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
    check_type(parameter.name, _info_of(parameter))
    return _annotation_of(parameter)


def _annotation_of(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is parameter.empty else parameter.annotation


def _info_of(parameter: inspect.Parameter) -> types.Type:
    try:
        return types.type_info(_annotation_of(parameter))
    except (TypeError, NameError) as error:  # a name in a class of the user's cannot be resolved
        raise TypeError(f"{parameter.name}: {error}") from None


def _in_own_context(bind: Callable[[Raw], Arguments]) -> Callable[[Raw], Arguments]:
    """As `bind`, in a context of its own: what the user's types set there must not be there for the next request."""
    return lambda data: copy_context().run(bind, data)


def _choices(parameter: inspect.Parameter) -> str:
    """The values that a Literal or Enum parameter accepts, for people; empty for all others."""
    info = _info_of(parameter)
    if isinstance(info, types.LiteralType):
        return ", ".join(map(str, info.values))
    if isinstance(info, types.EnumType):
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
