"""The broker's certificate, for all of its ports: read from files, checked, and replaced while they listen.

Each handshake takes the files as they were read last; links that are open keep what they began with.
"""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ..configuration.sources import ConfigurationError
from ..log.event import log_event
from .events import CertificateReloaded
from .settings import BrokerSettings

logger = logging.getLogger(__name__)

_MISMATCH: Final = "KEY_VALUES_MISMATCH"


class TlsFiles(NamedTuple):
    """Paths of PEM files. `client_ca`: None if no client certificates are asked for."""

    certificate: str
    key: str
    client_ca: str | None


class ServerTls:
    """`context` is for every handshake that starts; a reload replaces it. Raises ConfigurationError.

    A fresh context, instead of fresh files in the old one, is whole or not at all. It trusts no client authority that
    was taken out of its file, and knows no session that could be resumed.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._context = _context(files)

    def context(self) -> ssl.SSLContext:
        """What is in force."""
        return self._context

    def read_again(self) -> Callable[[], None]:
        """Read the files again. Returns what puts them in force. Blocks. Raises ConfigurationError."""
        fresh = _context(self._files)

        def put_in_force() -> None:
            self._context = fresh
            log_event(logger, CertificateReloaded(self._files.certificate))

        return put_in_force


def tls_of(settings: BrokerSettings) -> ServerTls | None:
    """What the settings say; None: no TLS. Raises ConfigurationError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca))


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    # A ticket would outlive a reload, and skip the check of the client's certificate. Links live long: little is lost.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, files)
    if files.client_ca is not None:
        _load_authorities(context, files.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _load_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    certificate, key = f"tls_certificate {files.certificate}", f"tls_key {files.key}"
    _check_certificates(certificate, files.certificate)
    if b"PRIVATE KEY-----" not in _content(key, files.key):
        raise ConfigurationError([f"{key}: holds no private key in PEM format"])

    def refuse() -> str:
        raise ConfigurationError([f"{key}: is encrypted; write it without a password"])

    try:
        context.load_cert_chain(files.certificate, files.key, refuse)
    except ssl.SSLError as error:
        if error.reason == _MISMATCH:
            raise ConfigurationError([f"{key}: is not the key of {files.certificate}"]) from None
        if error.reason is None:  # all certificates have been read already
            raise ConfigurationError([f"{key}: holds no whole private key in PEM format"]) from None
        raise ConfigurationError([f"{certificate}, {key}: {_reason(error)}"]) from None


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    name = f"tls_client_ca {path}"
    _check_certificates(name, path)
    context.load_verify_locations(path)


def _check_certificates(name: str, path: str) -> None:
    """Raises ConfigurationError unless the file holds a certificate; OpenSSL would not say which file does not."""
    if b"-----BEGIN CERTIFICATE-----" not in _content(name, path):
        raise ConfigurationError([f"{name}: holds no certificate in PEM format"])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigurationError([f"{name}: {_reason(error)}"]) from None


def _content(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else None
        raise ConfigurationError([f"{name}: {(text or str(error)).lower()}"]) from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
