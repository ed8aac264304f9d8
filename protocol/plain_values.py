"""What values become that an encoder does not take as they are: subclasses of plain ones, and NumPy's scalars.

An encoder asks here only about what it cannot write, so that nothing else pays for it.
"""

import sys
from typing import Any, Final

_KEYS: Final = {True: "true", False: "false", None: "null"}
"""As keys of a JSON object, as `json.dumps` writes them; as values, encoders take these three."""


def plain_value(value: Any) -> Any:
    """`value` as an encoder takes it. Raises TypeError, as the encoder does, if there is no such value."""
    match value:
        case True | False | None:
            return _KEYS[value]
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case bytes() | bytearray():
            return b"".join((value,))
        case tuple() | frozenset():  # as a key of a JSON object: as values, encoders take these too
            raise TypeError("Only dicts with str-like or number-like keys are supported")
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        item = value.item()
        if not isinstance(item, numpy.generic):  # a long double has no plain form
            return item
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
