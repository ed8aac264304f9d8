"""The header of a WebSocket server's data frame (RFC 6455, 5.2)."""

BINARY = 0x82


def frame_head(payload_bytes: int) -> bytes:
    """Header of an unfragmented, unmasked binary frame."""
    if payload_bytes < 126:
        return bytes((BINARY, payload_bytes))
    if payload_bytes < 65_536:
        return bytes((BINARY, 126)) + payload_bytes.to_bytes(2, "big")
    return bytes((BINARY, 127)) + payload_bytes.to_bytes(8, "big")
