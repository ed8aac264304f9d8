from msgspec import Raw

def to_json(data: Raw | bytes) -> bytes | None:
    """`data`, a value in MessagePack, in JSON: the bytes that `transcode_by_parts` gives.

    Raises OverflowError, RecursionError or ValueError for what that refuses; `transcode` makes the same text of it.
    RecursionError from 1,025 lists and maps inside each other on, where what is empty does not count.

    None for what is left to that: what is not MessagePack, which no client can send; over 256 MiB; if memory is short.
    """
