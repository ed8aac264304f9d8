"""What a worker declares when it connects, in the core's terms, and what of it does not fit together."""

from ..protocol.messages import Hello
from .core.offer import Offer, PlacesOffer


def contradiction_in(hello: Hello) -> str | None:
    """What contradicts the commands that it wants to serve, for people."""
    if hello.canary is not None and hello.canary not in hello.commands:
        return f"canary: {hello.canary!r} is not among its commands"
    if hello.places is not None and not set(hello.places.commands) <= set(hello.commands):
        name = next(name for name in hello.places.commands if name not in hello.commands)
        return f"places: {name!r} is not among its commands"
    return None


def offer_of(hello: Hello, commands: list[str]) -> Offer:
    """What a worker offers, in the core's terms: of what it wants to serve, these commands. A canary that is not among
    them is none; nor is an empty token one, which any two programs could have in common."""
    return Offer(
        commands,
        concurrency=hello.concurrency,
        weight=hello.weight,
        labels=hello.labels,
        instance=hello.instance or None,
        canary=hello.canary if hello.canary in commands else None,
        places=None
        if hello.places is None
        else PlacesOffer(frozenset(hello.places.commands), hello.places.count),
        sdk=hello.sdk,
    )
