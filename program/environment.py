"""Environment variables that look like settings and are none: a misspelled one would change nothing, and say nothing.

Those of other programs of ours are none of this program's business, and Kubernetes makes some of its own for each
service.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import click

from ..configuration.kinds import closest
from .table_options import variables_of

if TYPE_CHECKING:
    from .events import UnknownVariable

FAMILIES: Final = frozenset(
    f"TASKFERRY_{word}" for word in ("BROKER", "DEMO", "HTTP", "LOG", "REQUEST", "WORKER")
)
"""How the variables of our programs begin."""

ALONE: Final = frozenset({"TASKFERRY_TOKEN", "TASKFERRY_COMPILED", "TASKFERRY_PURE"})
"""Variables of no family: a client's token, and two of the installation."""

_OF_A_SERVICE: Final = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP|SCTP)\w*)")
_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://.*")


def unknown_variables(
    context: click.Context, environment: Mapping[str, str] = os.environ
) -> "Iterator[UnknownVariable]":
    """An event for each variable that the program of `context` may have been meant to read, and does not."""
    from .events import UnknownVariable  # noqa: PLC0415  for a quick --help

    known = {variable for parameter in context.command.params for variable in variables_of(parameter)}
    own = {_family(variable) for variable in known}
    for name in sorted(environment):
        is_ours = name.startswith("TASKFERRY_") and not (
            _OF_A_SERVICE.fullmatch(name) or _ADDRESS.fullmatch(environment[name])
        )
        is_of_another = _family(name) in FAMILIES - own
        if is_ours and not is_of_another and name not in known | ALONE:
            near = closest(name, sorted(known | ALONE))
            yield UnknownVariable(name, f"; did you mean {near}?" if near else "")


def _family(variable: str) -> str:
    return "_".join(variable.split("_")[:2])
