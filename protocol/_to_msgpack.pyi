from msgspec import Raw

def to_msgpack(data: Raw | bytes) -> bytes | None:
    """`data`, a value in JSON, in MessagePack: the bytes that `transcode_by_parts` gives.

    None for what that refuses, and for what is left to it: over 256 MiB; nested over 256 deep, where what is empty does
    not count; an object that has a key twice, or too many that look alike; a number with a point or an exponent of over
    64 characters; over 5,000 numbers that cannot be read with one rounding.
    """
