def find_value(message: bytes, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """The start and end of the value at `path`, a sequence of nested keys, in the JSON object `message`.

    None if it is not there, is there twice, or anything in `message` is not as RFC 8259 specifies; also if there is no
    code for this processor. `message` is assumed to be UTF-8: that is not checked.
    """

def find_value_anywhere(message: bytes, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """The same with the instructions that every x86-64 has, for tests on a processor that has more."""
