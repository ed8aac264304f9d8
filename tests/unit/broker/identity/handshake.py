"""A client certificate as a server sees it: after a real TLS handshake, in memory."""

import ssl
from typing import Any

import trustme


def certificate_of(authority: trustme.CA, *names: str, common_name: str | None = None) -> Any:
    """What `getpeercert` says of a certificate with these names, which `authority` has issued."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_context)
    authority.issue_cert(*names, common_name=common_name).configure_cert(client_context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    is_done = {server: False, client: False}
    for _ in range(10):
        for end in (client, server):
            try:
                end.do_handshake()
                is_done[end] = True
            except ssl.SSLWantReadError:
                pass
    assert all(is_done.values())
    return server.getpeercert()
