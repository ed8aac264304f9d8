"""Keys that verify JWTs: from a secret, a PEM, or a JSON Web Key Set (RFC 7517). No error quotes any of them."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from .jwt_terms import VerificationKey

SECRET_SIZE_BYTES_MIN: Final = 32
"""Bytes of a secret for HS256: as many as its hash has (RFC 7518, 3.2)."""

RSA_SIZE_BITS_MIN: Final = 2048
"""Bits of an RSA key (RFC 7518, 3.3)."""

SET_KEYS_COUNT_MAX: Final = 100
"""Keys of a set that are read. Issuers have two or three, while they rotate them."""

KEY_ID_LENGTH_MAX: Final = 256
"""Characters of a key id."""


def secret_key(name: str, secret: bytes) -> VerificationKey:
    """A secret for HS256. Raises ValueError."""
    if len(secret) < SECRET_SIZE_BYTES_MIN:
        raise ValueError(
            f"HS256 needs a secret of at least {SECRET_SIZE_BYTES_MIN} bytes, this one has {len(secret)}; "
            "make one with: openssl rand -base64 32"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ValueError(
            "this is a public key or a certificate, which is no secret; is the algorithm right?"
        ) from None
    return VerificationKey(name, "HS256", None, secret, _fingerprint("HS256", secret))


def pem_key(name: str, algorithm: str, pem: bytes) -> VerificationKey:
    """The public key of a PEM, or of a certificate in one. Raises ValueError."""
    if b"PRIVATE KEY" in pem:
        raise ValueError("this is a private key, and the broker needs only the public one")
    try:
        if b"BEGIN CERTIFICATE" in pem:
            key: Any = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("expected a public key or a certificate in PEM") from None
    return _public_key(name, algorithm, None, key)


def set_keys(name: str, algorithm: str, document: bytes) -> tuple[VerificationKey, ...]:
    """The keys of a JSON Web Key Set that are for `algorithm`. Others are left out, and so are those for encryption.
    Raises ValueError if it has none."""
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError("expected a JSON Web Key Set: an object with `keys`") from None
    if not isinstance(entries, list):
        raise ValueError("expected a JSON Web Key Set: `keys` is not a list")
    if len(entries) > SET_KEYS_COUNT_MAX:
        raise ValueError(
            f"a set has at most {SET_KEYS_COUNT_MAX} keys (SET_KEYS_COUNT_MAX), this one {len(entries)}"
        )
    found = (_key_of_set(name, algorithm, entry) for entry in entries)
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ValueError(f"none of its {len(entries)} keys is a public key for {algorithm}")
    return keys


def _key_of_set(name: str, algorithm: str, entry: object) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    key_id = entry.get("kid")
    if entry.get("alg", algorithm) != algorithm or not _is_key_id(key_id):
        return None
    try:
        key = _READERS[algorithm](entry)
        return _public_key(name, algorithm, key_id, key)
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError, UnsupportedAlgorithm):
        return None


def _is_key_id(key_id: object) -> bool:
    return key_id is None or (isinstance(key_id, str) and len(key_id) <= KEY_ID_LENGTH_MAX)


def _public_key(name: str, algorithm: str, key_id: str | None, key: Any) -> VerificationKey:
    expected = _KINDS[algorithm]
    match algorithm, key:
        case "RS256", RSAPublicKey(key_size=size):
            if size < RSA_SIZE_BITS_MIN:
                raise ValueError(
                    f"RS256 needs an RSA key of at least {RSA_SIZE_BITS_MIN} bits, this one has {size}"
                )
        case "ES256", EllipticCurvePublicKey(curve=SECP256R1()):
            pass
        case "EdDSA", Ed25519PublicKey():
            pass
        case _:
            raise ValueError(f"{algorithm} needs {expected}, and this is another kind of key")
    material = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerificationKey(name, algorithm, key_id, key, _fingerprint(algorithm, material))


def _fingerprint(algorithm: str, material: bytes) -> bytes:
    return hashlib.sha256(algorithm.encode() + b"\0" + material).digest()


_KINDS: Final = {"RS256": "an RSA key", "ES256": "a key on the curve P-256", "EdDSA": "an Ed25519 key"}
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "RS256": RSAAlgorithm.from_jwk,
    "ES256": ECAlgorithm.from_jwk,
    "EdDSA": OKPAlgorithm.from_jwk,
}
