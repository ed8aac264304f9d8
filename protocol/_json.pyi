def find_value(message: bytes, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """Where the value lies that is found in the JSON object `message` behind the keys `path`, one inside the other:
    start and end.

    None where it is not there, is there twice, or where anything in `message` is not as RFC 8259 has it; also where
    this processor's code is not written. `message` must be UTF-8 where it is to be read as such: that is not looked at.
    """

def find_value_anywhere(message: bytes, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """The same with the instructions that every x86-64 has, for tests on one that has more."""
