"""A URL as it is shown: the same place, without credentials."""

from taskferry.configuration.url import without_secrets

from tests.each_case import each_case


@each_case(
    ("url", "shown"),
    [
        ("ws://localhost:8765", "ws://localhost:8765"),
        ("wss://broker.example/workers", "wss://broker.example/workers"),
        ("ws://[::1]:8765", "ws://[::1]:8765"),
        ("ws://ada:SECRET@broker:8765", "ws://...@broker:8765"),
        ("ws://a:SEC@RET@broker:8765", "ws://...@broker:8765"),
        ("wss://broker:8765/?token=SECRET", "wss://broker:8765/?..."),
        ("wss://broker?SECRET#SECRET", "wss://broker?..."),
        ("wss://broker/#SECRET", "wss://broker/#..."),
        ("wss://broker/?", "wss://broker/?"),
        ("ada:SECRET@broker", "...@broker"),
        ("", ""),
        ("not a URL", "not a URL"),
        ("ws://x\n?SECRET", "ws://x\n?..."),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
