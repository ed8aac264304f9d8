def cut_frames(
    data: bytes | memoryview,
    start: int,
    first_byte: int,
    mask_bit: int,
    size_bytes_max: int,
    is_text: bool,
    messages: list[bytes],
    /,
) -> int: ...
def masked_frame(first_byte: int, payload: bytes, key: bytes, /) -> bytes: ...
