"""`taskferry broker`: options from the settings' own table, one clear line for what is wrong, then `run`."""

from typing import Any

import click

from ..configuration.sources import ConfigurationError
from ..log.options import program_options, sources_of
from ..log.settings import LOG
from .settings import BROKER

USAGE_ERROR = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def broker(context: click.Context, /, **_: Any) -> None:
    """Run a broker: workers dial in on one port, requesters on another, operators look in by HTTP.

    Settings come from the command line, else the environment, else the --config file, else the defaults. SIGHUP has the
    file read anew. Stops on SIGTERM or Ctrl-C once requests in flight have ended (--grace seconds at most); a second
    signal stops it at once.

    Exit code 0 after an orderly stop, 2 for a setting or a port that cannot be had.
    """
    from ..log.setup import set_up_logging  # noqa: PLC0415  `--help` must not wait for what a broker needs
    from .port import PortTaken  # noqa: PLC0415
    from .run import run  # noqa: PLC0415
    from .strategies import StrategyError  # noqa: PLC0415

    try:
        sources = sources_of(context, BROKER)
        configuration = sources.read()
        set_up_logging(configuration.settings(LOG))
        run(sources, configuration)
    except (ConfigurationError, PortTaken, StrategyError) as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(USAGE_ERROR) from None


broker.params[:0] = program_options(BROKER)
