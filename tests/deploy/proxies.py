"""The example configurations of nginx and HAProxy adapted to a test: the real file with other ports, certificates and
timeouts, and the real proxy in front of a real broker."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trustme

from tests.deploy.tools import free_port, is_listening, needed
from tests.processes import Broker, Program, Programs, wait_until
from tests.unit.deploy.deployment import DEPLOY

Substitutions = Mapping[str, str]
"""Regular expressions and their replacements. Each must match, so that the example and this do not drift apart."""


class Certificates:
    """A certificate authority for the test, and the certificate that it issued for 127.0.0.1, in files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.authority = folder / "authority.pem"
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self.both = folder / "both.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        issued.cert_chain_pems[0].write_to_path(str(self.certificate))
        issued.private_key_pem.write_to_path(str(self.key))
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.both))


def port_of(url: str) -> str:
    """The port of a URL without a path."""
    return url.rpartition(":")[2]


def substituted(text: str, substitutions: Substitutions) -> str:
    """`text` with each of the substitutions made."""
    for pattern, replacement in substitutions.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"nothing in the example matches {pattern!r}"
    return text


def start_nginx(
    programs: Programs, broker: Broker, certificates: Certificates, port: int, timeouts: Substitutions
) -> Program:
    """nginx with only the example in its http block, as in /etc/nginx/conf.d/."""
    folder = programs.folder / "nginx"
    folder.mkdir()
    example = (DEPLOY / "nginx" / "taskferry.conf").read_text(encoding="utf-8")
    site = substituted(
        example,
        {
            r"listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            r"127\.0\.0\.1:8765": f"127.0.0.1:{port_of(broker.worker_url)}",
            r"127\.0\.0\.1:8766": f"127.0.0.1:{port_of(broker.requester_url)}",
            r"127\.0\.0\.1:8768": f"127.0.0.1:{port_of(broker.api_url)}",
            r"/etc/nginx/tls/\S+\.crt": str(certificates.certificate),
            r"/etc/nginx/tls/\S+\.key": str(certificates.key),
            **timeouts,
        },
    )
    (folder / "taskferry.conf").write_text(site, encoding="utf-8")
    temporary = "".join(
        f"    {kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {folder / 'pid'};\nerror_log stderr notice;\n"
        "events { worker_connections 64; }\n"
        f"http {{\n    access_log off;\n{temporary}    include {folder / 'taskferry.conf'};\n}}\n",
        encoding="utf-8",
    )
    return programs.start(
        "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf"), executable=needed("nginx")
    )


def start_haproxy(
    programs: Programs, broker: Broker, certificates: Certificates, port: int, timeouts: Substitutions
) -> Program:
    """HAProxy with the example as its whole configuration."""
    example = (DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    text = substituted(
        example,
        {
            r"bind :443": f"bind 127.0.0.1:{port}",
            r"127\.0\.0\.1:8765": f"127.0.0.1:{port_of(broker.worker_url)}",
            r"127\.0\.0\.1:8766": f"127.0.0.1:{port_of(broker.requester_url)}",
            r"127\.0\.0\.1:8768": f"127.0.0.1:{port_of(broker.api_url)}",
            r"check port 8767": f"check port {port_of(broker.http_url)}",
            r"/etc/haproxy/tls/\S+\.pem": str(certificates.both),
            r"maxconn 40000": "maxconn 100",
            **timeouts,
        },
    )
    file = programs.folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    return programs.start("-db", "-f", str(file), executable=needed("haproxy"))


Start = Callable[[Programs, Broker, Certificates, int, Substitutions], Program]
STARTS: Final[Mapping[str, Start]] = {"nginx": start_nginx, "haproxy": start_haproxy}


class Proxied:
    """A broker, with `options`, behind a proxy. `worker_url` and `requester_url` are the proxy's, over TLS."""

    def __init__(self, programs: Programs, kind: str, timeouts: Substitutions, *options: str) -> None:
        self.certificates = Certificates(programs.folder)
        self.broker = programs.start_broker("--grace", "1", *options)
        port = free_port()
        self.proxy = STARTS[kind](programs, self.broker, self.certificates, port, timeouts)
        wait_until(
            lambda: is_listening(port) or self.proxy.exit_code is not None, f"{kind} accepts connections"
        )
        assert self.proxy.exit_code is None, self.proxy.stderr
        self.url = f"wss://127.0.0.1:{port}"
        self.worker_url = f"{self.url}/worker"
        self.requester_url = f"{self.url}/requester"
        self.environment = {"SSL_CERT_FILE": str(self.certificates.authority)}
