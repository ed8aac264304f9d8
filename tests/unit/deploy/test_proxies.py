"""The proxies' examples: they name the broker's ports, and cut no connection before its heartbeats can have arrived."""

import re

import pytest
from taskferry.broker.broker import REQUESTER_HEARTBEAT_INTERVAL_S
from taskferry.broker.settings import BrokerSettings
from taskferry.protocol.limits import HEARTBEAT_INTERVAL_S

from tests.unit.deploy.deployment import DEPLOY

NGINX = (DEPLOY / "nginx" / "taskferry.conf").read_text(encoding="utf-8")
HAPROXY = (DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
DEFAULTS = BrokerSettings()
PORTS = {"worker": DEFAULTS.worker_port, "requester": DEFAULTS.requester_port, "ws": DEFAULTS.api_port}
HEARTBEATS_S = {
    "worker": HEARTBEAT_INTERVAL_S,
    "requester": REQUESTER_HEARTBEAT_INTERVAL_S,
    "ws": REQUESTER_HEARTBEAT_INTERVAL_S,
}


@pytest.mark.parametrize("role", PORTS)
def test_nginx_reaches_the_port_and_waits_for_two_heartbeats(role: str) -> None:
    assert re.search(rf"upstream taskferry_{role} {{\s+server 127.0.0.1:{PORTS[role]};", NGINX)
    location = re.search(rf"location = /{role} {{(.*?)}}", NGINX, re.DOTALL)
    assert location
    assert f"proxy_pass http://taskferry_{role};" in location[1]
    read_s, send_s = (re.search(rf"proxy_{way}_timeout (\d+)s;", location[1]) for way in ("read", "send"))
    assert read_s
    assert send_s
    assert min(int(read_s[1]), int(send_s[1])) > 2 * HEARTBEATS_S[role]


@pytest.mark.parametrize("role", PORTS)
def test_haproxy_reaches_the_port_and_waits_for_two_heartbeats(role: str) -> None:
    backend = re.search(rf"^backend taskferry_{role}\n((?:    .*\n)+)", HAPROXY, re.MULTILINE)
    assert backend
    assert f"server broker 127.0.0.1:{PORTS[role]} check port {DEFAULTS.http_port}" in backend[1]
    tunnel_s = re.search(r"timeout tunnel (\d+)s", backend[1])
    assert tunnel_s
    assert int(tunnel_s[1]) > 2 * HEARTBEATS_S[role]


@pytest.mark.parametrize("text", [NGINX, HAPROXY], ids=["nginx", "haproxy"])
def test_old_tls_is_refused(text: str) -> None:
    assert re.search(r"ssl_protocols TLSv1.2 TLSv1.3;|ssl-min-ver TLSv1.2", text)
