"""Tokens that an access file lists: made at random, known by their SHA-256.

256 random bits cannot be guessed, so a plain digest protects them: whoever reads the file cannot log in with it. A slow
hash would only let strangers spend the broker's time.
"""

import base64
import hashlib
import secrets
from typing import Final

TOKEN_PREFIX: Final = "tfk_"
"""By it people, and programs that look for leaked secrets, recognize a token."""

TOKEN_SIZE_BYTES: Final = 32
"""Random bytes of a token."""

LABEL_LENGTH: Final = 8
"""Hexadecimal digits of a digest by which people find a token."""


def new_token() -> str:
    """A token: TOKEN_PREFIX and 43 characters of base64url."""
    random = secrets.token_bytes(TOKEN_SIZE_BYTES)
    return TOKEN_PREFIX + base64.urlsafe_b64encode(random).rstrip(b"=").decode()


def digest_of(token: str) -> bytes:
    """The SHA-256 of a token, which may be any text."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def label_of(digest: bytes) -> str:
    """A token's digest as logs and tables show it."""
    return digest.hex()[:LABEL_LENGTH]
