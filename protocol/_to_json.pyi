from msgspec import Raw

def to_json(data: Raw | bytes) -> bytes | None:
    """`data`, a value in MessagePack, in JSON: the bytes that `transcode_by_parts` gives.

    None for what that refuses, and for what is left to it: over 256 MiB; nested over 256 deep, where what is empty does
    not count; a map that has a key twice, or too many that look alike.
    """
