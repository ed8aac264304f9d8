"""How figures are written in tables."""

from collections.abc import Sequence


def number(value: float | None) -> str:
    """Three significant digits, without an exponent; empty for None."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def ratio(value: float | None, base: float | None) -> str:
    """`value` as a multiple of `base`; empty if one of them is missing."""
    if value is None or not base:
        return ""
    return f"{value / base:.2f}"


def span(values: Sequence[float]) -> str:
    """The minimum and the maximum of all rounds."""
    return f"{number(min(values))}..{number(max(values))}"


def size(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes} B" if size_bytes < 1024 else f"{size_bytes / 1024:.3g} KiB"
