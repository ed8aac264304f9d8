"""A client's side of TLS: whom it trusts, the certificate that it shows, and what went wrong, in one line."""

import os
import ssl
from pathlib import Path
from typing import Final

_TRUST: Final = "to trust its authority, give that authority's certificate with --ca (in code: tls=)"
_OF_VERIFICATION: Final = {
    9: "is not valid yet: check the clock of this machine",
    10: "has expired: renew it, or check the clock of this machine; --ca cannot help",
    18: f"is signed by itself; {_TRUST}",
    19: f"is from an authority that is not trusted; {_TRUST}",
    20: f"is from an authority that is not trusted; {_TRUST}",
    21: f"is from an authority that is not trusted; {_TRUST}",
    62: "is for another name: connect to a name that it is for; --ca cannot help",
    64: "is for another address: connect to a name or address that it is for; --ca cannot help",
}
"""By the codes of OpenSSL (x509_vfy.h)."""


_KEY_LOG: Final = "SSLKEYLOGFILE"


class TlsError(Exception):
    """A file for TLS cannot be used: one line, which names the option, or the variable, and the file."""


def client_context(
    *, ca: str | None, certificate: str | None, key: str | None, skips_verification: bool
) -> ssl.SSLContext | None:
    """The context for these options, None if there are none. Raises TlsError.

    `ca`: a PEM file of the authorities to trust, instead of the system's. `certificate`, `key`: PEM files of what the
    client shows; without `key` it is in `certificate`, too.
    """
    if ca is None and certificate is None and key is None and not skips_verification:
        return None
    if key is not None and certificate is None:
        raise TlsError("--key needs --certificate")
    for option, path in (("--ca", ca), ("--certificate", certificate), ("--key", key)):
        if path is not None:
            _check_readable(option, path)
    try:
        context = default_context(ca)
    except ssl.SSLError:
        raise TlsError(f"--ca: {ca} is not a PEM file of certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if skips_verification:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        _load_certificate(context, certificate, key)
    return context


def default_context(ca: str | None = None) -> ssl.SSLContext:
    """What trusts the authorities in the PEM file `ca`, by default those of the system. Raises TlsError, and SSLError
    for a file that is none.

    OpenSSL writes its keys to the file that SSLKEYLOGFILE names, for those who debug, and opens it here.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise
    except OSError as error:
        where = f"{_KEY_LOG}: " if os.environ.get(_KEY_LOG) else ""
        file = f"{error.filename}: " if error.filename else ""
        raise TlsError(f"{where}{file}{(error.strerror or str(error)).lower()}") from None


def describe_tls(error: ssl.SSLError, host: str) -> str:
    """Why TLS with `host` failed, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        # `--ca` is named in each line: it is what people try first, whether it helps or not.
        what = _OF_VERIFICATION.get(error.verify_code) or f"is not trusted: {error.verify_message}; {_TRUST}"
        return f"the certificate of {host} {what}"
    if speaks_no_tls(error):
        return f"{host} does not speak TLS (SSL) there"
    if "ALERT" in (error.reason or ""):
        alert = str(error.reason).partition("ALERT_")[2].replace("_", " ").lower()
        return f"{host} refuses this client in the TLS handshake: {alert}"
    return error.strerror or str(error)


def speaks_no_tls(error: ssl.SSLError) -> bool:
    """The other end answered with something that is not TLS."""
    return error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def _check_readable(option: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise TlsError(f"{option}: {path}: {(error.strerror or str(error)).lower()}") from None


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    def no_password() -> str:
        raise TlsError(f"--key: {key or certificate} is encrypted: give a key without a passphrase")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        what = (
            "the key does not belong to the certificate"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "not PEM files of a certificate and its key"
        )
        files = certificate if key is None else f"{certificate} and {key}"
        raise TlsError(f"--certificate: {files}: {what}") from None
