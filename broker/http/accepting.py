"""What a client accepts, by its headers `Accept` and `Accept-Encoding`: the weight of each choice.

Source: RFC 9110, sections 12.4.2 (weights), 12.5.1 and 12.5.3.
"""

from collections.abc import Iterator
from typing import Final

ANY: Final = "*"


def preferences(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each choice of such a header: its name in lower case, its parameters, and its weight in [0, 1]; 0 refuses it. A
    weight that is no such number is 0."""
    for part in header.split(","):
        name, *rest = (text.strip() for text in part.split(";"))
        pairs = (text.partition("=") for text in rest)
        parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
        yield name.lower(), parameters, _weight(parameters.pop("q", "1"))


def accepts_gzip(header: str) -> bool:
    """Whether a response may be compressed with gzip. What names gzip goes before `*`."""
    weights = {name: weight for name, _, weight in preferences(header)}
    return weights.get("gzip", weights.get(ANY, 0.0)) > 0


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
