"""An issuer of JWTs for tests, with a real key for each algorithm, and the policies that trust it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from taskferry.broker.identity.access_file import parsed
from taskferry.broker.identity.policy import Policy

SECRET = "a-secret-of-more-than-32-bytes-0123456789"
WALL_NOW = 1_800_000_000.0
NOW = 5_000.0
PUBLIC_ALGORITHMS = ("RS256", "ES256", "EdDSA")
WRITERS: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


@cache
def private_key(algorithm: str, number: int = 0) -> Any:
    """A key to sign with; another one for each number."""
    del number
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return SECRET


def pem(algorithm: str, number: int = 0) -> bytes:
    """The public key."""
    public = private_key(algorithm, number).public_key()
    content: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return content


def private_pem(algorithm: str) -> bytes:
    """The private key, which no broker should get."""
    content: bytes = private_key(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return content


def entry(algorithm: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """The public key in a JSON Web Key Set."""
    public = private_key(algorithm, number).public_key()
    return {**WRITERS[algorithm].to_jwk(public, as_dict=True), **more}


def key_set(*entries: dict[str, Any]) -> bytes:
    """A JSON Web Key Set."""
    return json.dumps({"keys": entries}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """Claims that are accepted; None leaves one out."""
    good = {"sub": "alice", "aud": "taskferry", "exp": WALL_NOW + 60}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(algorithm: str = "HS256", number: int = 0, kid: str | None = None, **changed: Any) -> str:
    """A token with these claims."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changed), private_key(algorithm, number), algorithm=algorithm, headers=headers)


def policy(folder: Path, algorithm: str = "HS256", jwt_lines: str = "", more: str = "") -> Policy:
    """A policy that trusts this issuer by one key, named main."""
    if algorithm == "HS256":
        source = f'secret = "{SECRET}"'
    else:
        (folder / "key.pem").write_bytes(pem(algorithm))
        source = 'pem_file = "key.pem"'
    text = f"""
{more}
[jwt]
audience = "taskferry"
{jwt_lines}
[jwt.keys.main]
algorithm = "{algorithm}"
{source}
"""
    return parsed(text.encode(), folder / "access.toml")
