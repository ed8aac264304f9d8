from msgspec import Raw

def to_msgpack(data: Raw | bytes) -> bytes | None:
    """`data`, a value in JSON, in MessagePack: the bytes that `transcode_by_parts` gives.

    Raises OverflowError, RecursionError or ValueError for what that refuses; `transcode` makes the same text of it.
    RecursionError from 1,025 lists and objects inside each other on, where what is empty does not count.

    None for what is left to that: what is not JSON, which no client can send; and over 256 MiB, or if memory is short.
    """
