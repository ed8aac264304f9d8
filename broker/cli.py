"""`taskferry broker`: its options, and one clear line if it cannot start."""

import logging
from typing import Any

import click

from ..configuration.sources import ConfigurationError
from ..log.settings import LOG
from ..program.command_line import Refused
from ..program.environment import unknown_variables
from ..program.options import program_options, sources_of
from .settings import BROKER

logger = logging.getLogger(__name__)


@click.command()
@click.pass_context
def broker(context: click.Context, /, **_: Any) -> None:
    """Run a broker. Workers connect to one port, requesters to another, and operators to a third by HTTP.

    Each setting comes from the command line, else the environment, else the --config file, else its default. SIGHUP
    reloads the file. SIGTERM and Ctrl-C stop the broker once requests in flight have ended, after --grace seconds at
    most; a second signal stops it at once.

    Exit codes: 0 stopped as asked; 2 a setting is wrong, a port could not be bound, or the journal that --journal names
    could not be opened.
    """
    from ..log.event import log_event  # noqa: PLC0415  as below
    from ..log.setup import set_up_logging  # noqa: PLC0415  `--help` must not wait for what a broker needs
    from .jobs.ports import JournalError  # noqa: PLC0415
    from .port import PortTaken  # noqa: PLC0415
    from .run import run  # noqa: PLC0415
    from .strategies import StrategyError  # noqa: PLC0415

    try:
        sources = sources_of(context, BROKER)
        configuration = sources.read()
        set_up_logging(configuration.settings(LOG))
        for warning in unknown_variables(context):
            log_event(logger, warning)
        run(sources, configuration)
    except (ConfigurationError, JournalError, PortTaken, StrategyError) as error:
        raise Refused(str(error)) from None


broker.params[:0] = program_options(BROKER)
