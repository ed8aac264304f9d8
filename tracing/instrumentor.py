"""How tracing is switched on: the class that OpenTelemetry's own tools look for, and that programs may call.

It has the interface that `opentelemetry-instrument` expects of the entry point `opentelemetry_instrumentor`, and needs
only OpenTelemetry's API.
"""

from typing import TYPE_CHECKING

from .switch import SWITCH

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class TaskferryInstrumentor:
    """Switches the spans of this process on and off."""

    def instrument(self, *, tracer_provider: "TracerProvider | None" = None, **_: object) -> None:
        """Make spans with `tracer_provider`, or else the global one, which may also be set later.

        A broker, or a worker's link, that has started before stays untraced. Further options, which OpenTelemetry's
        tools pass, have no effect. Raises ImportError, saying what to install, if OpenTelemetry's API is missing.
        """
        from importlib.metadata import version  # noqa: PLC0415  slow to load, and every client loads this module

        try:
            from opentelemetry.trace import get_tracer  # noqa: PLC0415  an extra: loaded only if it is used
        except ImportError as error:
            raise ImportError(
                "tracing needs OpenTelemetry's API: pip install opentelemetry-api", name=error.name
            ) from error
        SWITCH.tracer = get_tracer("taskferry", version("taskferry"), tracer_provider)

    def uninstrument(self, **_: object) -> None:
        """Make no more spans; open ones are still ended."""
        SWITCH.tracer = None
