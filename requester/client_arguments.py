"""What a requester is made with, asynchronous or blocking, once it is checked."""

import ssl
from collections.abc import Mapping
from typing import NamedTuple

from ..credentials.source import TokenSource
from ..program.device import check_device
from ..program.own_messages import MessageHandlers
from ..protocol.encodings import Encoding
from ..transport.connect import ConnectError, check_login, check_url
from .jobs.inbox import check_client_id
from .options import RETRIES_COUNT_MAX


class Arguments(NamedTuple):
    """The arguments of a requester; see Requester."""

    url: str
    encoding: Encoding
    in_flight_count_max: int
    tokens: TokenSource
    tls: ssl.SSLContext | None
    client_id: str | None
    device: Mapping[str, str] | None
    retries: int
    handlers: MessageHandlers


def checked_arguments(
    url: str,
    encoding: Encoding | str,
    in_flight_count_max: int,
    tokens: TokenSource,
    tls: ssl.SSLContext | None,
    *,
    client_id: str | None,
    device: Mapping[str, str] | None,
    retries: int,
) -> Arguments:
    """The arguments. Raises ValueError if a requester cannot be made with them."""
    tokens.check()
    try:
        check_login(check_url(url), has_token=not tokens.is_none, has_tls=tls is not None)
    except ConnectError as error:
        raise ValueError(str(error)) from None
    if in_flight_count_max < 1:
        raise ValueError(f"in_flight_count_max: {in_flight_count_max} is not at least 1")
    if encoding not in (*Encoding, *(known.value for known in Encoding)):
        raise ValueError(
            f"encoding: {encoding!r} is not one of {', '.join(known.value for known in Encoding)}"
        )
    check_client_id(client_id)
    check_device(device)
    if not 0 <= retries <= RETRIES_COUNT_MAX:
        raise ValueError(f"retries: {retries} is not from 0 to {RETRIES_COUNT_MAX}")
    return Arguments(
        url,
        Encoding(encoding),
        in_flight_count_max,
        tokens,
        tls,
        client_id,
        device,
        retries,
        MessageHandlers(),
    )
