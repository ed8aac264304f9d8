"""Which Host and Origin headers are let through."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from taskferry.broker.access.hosts import NAME_LENGTH_MAX, Hosts, check_host, check_origin, is_loopback

from tests.each_case import each_case

HOSTS = Hosts(
    ["broker.example.com", "*.svc.cluster.local", "Upper.Example."],
    [
        "https://app.example.com",
        "http://intranet:8080",
        "https://xn--bcher-kva.example:443",
        "app://obsidian.md",
    ],
    ["node-7"],
)


@each_case(
    "host",
    [
        "localhost",
        "localhost:8766",
        "LOCALHOST:8766",
        "localhost.",
        "app.localhost:1",
        "127.0.0.1:8766",
        "127.8.7.6",
        "[::1]",
        "[::1]:8766",
        "10.0.0.7:8766",
        "[fd00::7]:8766",
        "[fe80::7%eth0]:8766",
        "[fe80::7%25eth0]",
        "broker.example.com",
        "Broker.Example.COM:443",
        "broker.example.com.:8766",
        "broker.example.com:",
        "upper.example",
        "taskferry.default.svc.cluster.local",
        "node-7:8766",
    ],
)
def test_a_host_that_is_let_through(host: str) -> None:
    assert HOSTS.host_refusal(host) is None


@each_case(
    ("host", "name"),
    [
        ("evil.com", "evil.com"),
        ("EVIL.com.:8766", "evil.com"),
        ("localhost.evil.com", "localhost.evil.com"),
        ("evil-localhost", "evil-localhost"),
        ("127.0.0.1.evil.com", "127.0.0.1.evil.com"),
        ("127.0.0.1.nip.io:8766", "127.0.0.1.nip.io"),
        ("127.1", "127.1"),  # browsers write addresses out; a name that looks like one is a name
        ("2130706433", "2130706433"),
        ("127.0.0.01", "127.0.0.01"),
        ("sub.broker.example.com", "sub.broker.example.com"),
        ("svc.cluster.local", "svc.cluster.local"),
        ("evilsvc.cluster.local", "evilsvc.cluster.local"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_foreign_host_is_refused_and_the_setting_named(host: str, name: str) -> None:
    assert HOSTS.host_refusal(host) == (
        f"this broker is not known as {name}; if it should be, add that to allowed_hosts in [broker] "
        f"(--allowed-host {name})"
    )


@each_case(
    "host",
    [
        "",
        ":8766",
        ".",
        ".localhost",
        "localhost..",
        "local host",
        " localhost",
        "localhost\n",
        "localhost, localhost",
        "localhost, evil.com",
        "localhost@evil.com",
        "localhost:80@evil.com",
        "user:word@localhost",
        "localhost/",
        "localhost?",
        "localhost#",
        "http://localhost",
        "localhost:80:80",
        "localhost:port",
        "localhost:123456",
        "localhost:-1",
        "::1",
        "[::1",
        "[::1]x",
        "[localhost]",
        "[127.0.0.1]",
        "[::1%]",
        "[::g]",
        "bücher.example",
        "\u212aocalhost",  # the Kelvin sign, which is k in lower case
        "localhost\x00",
        "*.svc.cluster.local",
        f"{'a' * 250}.com",
    ],
)
def test_what_is_no_host_is_refused_without_a_quote(host: str) -> None:
    expected = "the Host header is not a host name or address with an optional port"
    assert HOSTS.host_refusal(host) == expected


@pytest.mark.parametrize("listed", ["broker.example", "Broker.EXAMPLE", "broker.example."])
def test_a_name_is_known_however_it_is_listed(listed: str) -> None:
    assert Hosts([listed], []).host_refusal("broker.example") is None


def test_a_name_has_a_greatest_length() -> None:
    name = "x" * (NAME_LENGTH_MAX - 4) + ".com"
    hosts = Hosts([name, f"x{name}"], [])
    assert hosts.host_refusal(name) is None
    assert (
        hosts.host_refusal(f"x{name}")
        == "the Host header is not a host name or address with an optional port"
    )


def test_a_request_without_a_host_is_refused() -> None:
    assert HOSTS.host_refusal(None) == "there is no Host header"


@each_case(
    "origin",
    [
        None,
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8443",
        "http://app.localhost:5173",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://app.example.com",
        "https://APP.example.com:443",
        "HTTPS://app.example.com",
        "http://intranet:8080",
        "https://xn--bcher-kva.example",
        "app://obsidian.md",
    ],
)
def test_an_origin_that_is_let_through(origin: str | None) -> None:
    assert HOSTS.origin_refusal(origin) is None


@each_case(
    ("origin", "named"),
    [
        ("http://evil.com", "http://evil.com"),
        ("http://localhost.evil.com", "http://localhost.evil.com"),
        ("http://evil-localhost:80", "http://evil-localhost"),
        ("http://app.example.com", "http://app.example.com"),  # another scheme
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("http://intranet", "http://intranet"),
        ("https://app.example.com.evil.com", "https://app.example.com.evil.com"),
        ("http://10.0.0.7", "http://10.0.0.7"),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("http://[fd00::7]:8080", "http://[fd00::7]:8080"),
        ("http://[fd00::7]:80", "http://[fd00::7]"),
        ("http://broker.example.com", "http://broker.example.com"),  # as a host it may be addressed
        ("chrome-extension://abcdefghij", "chrome-extension://abcdefghij"),
        ("ftp://localhost", "ftp://localhost"),
        ("null", "null"),
    ],
)
def test_a_foreign_origin_is_refused_and_the_setting_named(origin: str, named: str) -> None:
    assert HOSTS.origin_refusal(origin) == (
        f"web pages of {named} may not connect; if they should, add that to allowed_origins in [broker] "
        f"(--allowed-origin {named})"
    )


@each_case(
    "origin",
    [
        "",
        "localhost",
        "//localhost",
        "http:localhost",
        "http:/localhost",
        "http://",
        "http://localhost/",
        "http://localhost@evil.com",
        "http://localhost:80@evil.com",
        "http://localhost http://evil.com",
        "http://evil.com, http://localhost",
        "http://localhost\\.evil.com",
        "http://localhost%2eevil.com",
        "://localhost",
        "ht tp://localhost",
        "Null",
        "http://bücher.example",
    ],
)
def test_what_is_no_origin_is_refused_without_a_quote(origin: str) -> None:
    assert HOSTS.origin_refusal(origin) == "the Origin header is not an origin"


def test_pages_without_an_origin_connect_only_if_that_is_listed() -> None:
    assert Hosts([], ["null"]).origin_refusal("null") is None


@each_case("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "broker.localhost"])
def test_what_listens_there_is_for_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@each_case("host", ["0.0.0.0", "::", "10.0.0.7", "fd00::7", "broker.example.com", "", "[::1]"])
def test_what_listens_there_may_be_for_others(host: str) -> None:
    assert not is_loopback(host)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
TEXTS = st.text(st.sampled_from("localhostevil.cm127:0[]%/@\\, \t\u212a*"), max_size=24) | st.text(
    max_size=24
)


@given(NAMES, st.sampled_from(["", ".", ":8766", ".:8766"]))
def test_a_name_is_let_through_if_it_is_listed(name: str, rest: str) -> None:
    assert Hosts([name], []).host_refusal(name.upper() + rest) is None
    if name.endswith("localhost") or name.replace(".", "").isdigit():
        return
    assert Hosts([f"x{name}", f"*.{name}"], []).host_refusal(name + rest) is not None
    assert Hosts([f"*.{name}"], []).host_refusal(f"x.{name}{rest}") is None


@given(TEXTS)
@example("localhost.evil.com")
@example("evil.com#.localhost")
@example("evil.com\t.localhost")
def test_nothing_passes_but_loopback_names_and_addresses(text: str) -> None:
    if Hosts([], []).host_refusal(text) is None:
        host = text.lower().rpartition(":")[0] if ":" in text.rpartition("]")[2] else text.lower()
        name = host.removesuffix(".")
        is_address = name.startswith("[") or name.replace(".", "").isdigit()
        assert is_address or name.split(".")[-1] == "localhost"


@given(TEXTS)
def test_every_refusal_is_one_line_of_plain_characters(text: str) -> None:
    for refusal in (
        HOSTS.host_refusal(text),
        HOSTS.origin_refusal(text),
        HOSTS.origin_refusal(f"http://{text}"),
    ):
        assert refusal is None or (refusal.isascii() and refusal.isprintable() and len(refusal) < 800)


@given(TEXTS)
def test_what_the_configuration_accepts_is_let_through(text: str) -> None:
    try:
        check_origin(text)
    except ValueError:
        assert Hosts([], [text]).origin_refusal("http://evil.com") is not None
    else:
        assert Hosts([], [text]).origin_refusal(text) is None
    try:
        check_host(text)
    except ValueError:
        return
    assert Hosts([text], []).host_refusal(text.replace("*", "x")) is None


@pytest.mark.parametrize("text", ["broker", "broker.example.com", "*.example.com", "broker.example.com."])
def test_a_host_that_can_be_listed(text: str) -> None:
    check_host(text)


@each_case(
    "text",
    [
        "*",
        "*.",
        "*example.com",
        "a.*.com",
        "a:80",
        "http://a",
        "a/b",
        "bücher.example",
        "10.0.0.7",
        "[::1]",
        "",
    ],
)
def test_a_host_that_cannot_be_listed(text: str) -> None:
    with pytest.raises(ValueError, match="expected a host name in ASCII"):
        check_host(text)


@pytest.mark.parametrize("text", ["https://a", "http://a:1", "null", "app://x"])
def test_an_origin_that_can_be_listed(text: str) -> None:
    check_origin(text)


@each_case("text", ["*", "a", "https://a/", "https://*.a", "https://a/b", "https://bücher.example", ""])
def test_an_origin_that_cannot_be_listed(text: str) -> None:
    with pytest.raises(ValueError, match="expected SCHEME://HOST"):
        check_origin(text)


def test_a_token_in_the_place_of_a_name_is_not_quoted() -> None:
    hosts = Hosts((), (), ())
    assert hosts.host_refusal(f"TFK_{'x' * 43}") == hosts.host_refusal("a b")
    assert hosts.origin_refusal(f"https://a.tfk_{'x' * 43}:80") == hosts.origin_refusal("a b")
