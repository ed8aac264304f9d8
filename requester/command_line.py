"""What the commands of a requester share: the options of the connection, its settings, and how each of them ends."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from ..configuration.sources import DEFAULT, ConfigurationError
from ..log.settings import LOG
from ..program.command_line import Refused
from ..program.environment import unknown_variables
from ..program.exit_codes import INTERRUPTED
from ..program.options import program_options, sources_of
from ..program.table_options import notes
from . import exit_codes
from .options import LOG_LEVEL_DEFAULT, REQUESTER, RequesterOptions

if TYPE_CHECKING:
    from ..log.event import Event
    from .client import Requester

Command = TypeVar("Command", bound=click.Command)


def epilog(meanings: Mapping[int, str]) -> str:
    """The table of exit codes that `--help` ends with."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in meanings.items())


def about_jobs(*left_out: str) -> Callable[[Command], Command]:
    """Give a command about jobs the options of the connection, but for the settings `left_out`, and the table of exit
    codes. The timeout of requests, and whether they wait for a broker, are never among the options."""
    missing = {"timeout", "wait", *left_out}

    def add(command: Command) -> Command:
        options = program_options(REQUESTER, log_level_default=LOG_LEVEL_DEFAULT)
        command.params += [option for option in options if option.name not in missing]
        for option in options:
            if option.name == "json":
                option.help = "Print lines of JSON, also on a terminal." + notes("", None, str(option.envvar))
        command.epilog = epilog(exit_codes.JOB_MEANINGS)
        return command

    return add


class Client(NamedTuple):
    """What a command asks with, and the settings that say how it prints. `warnings`: what is unsafe about it."""

    requester: "Requester"
    settings: RequesterOptions
    warnings: "Sequence[Event]"

    def warn(self) -> None:
        """Print the warnings: once all options are known to be right."""
        for warning in self.warnings:
            click.echo(f"warning: {warning}", err=True)


def client_of(context: click.Context) -> Client:
    """The client that the options describe. Sets up logging, too."""
    from ..credentials.settings import login_from, unprotected, unverified  # noqa: PLC0415  for a quick --help
    from ..credentials.source import token_now  # noqa: PLC0415
    from ..log.setup import set_up_logging  # noqa: PLC0415
    from .client import Requester  # noqa: PLC0415

    try:
        configuration = sources_of(context, REQUESTER).read()
    except ConfigurationError as error:
        raise Refused(str(error)) from None
    log = configuration.settings(LOG)
    if configuration.values[LOG.name]["level"].source == DEFAULT:
        log = replace(log, level=LOG_LEVEL_DEFAULT)
    set_up_logging(log)
    settings = configuration.settings(REQUESTER)
    try:
        login = login_from(settings)
        token_now(login.token)  # a file without one will not get it while this runs
    except ValueError as error:
        raise Refused(str(error)) from None
    try:
        requester = Requester(
            settings.broker,
            encoding=settings.encoding,
            token=login.token,
            tls=login.tls,
            retries=settings.retries,
        )
    except ValueError as error:
        raise click.UsageError(f"--broker: {error}") from None
    warnings = [*unknown_variables(context), *unverified(settings, settings.broker)]
    if requester.has_token and log.level == LOG_LEVEL_DEFAULT:  # else the requester logs it
        warnings += unprotected(settings.broker)
    return Client(requester, settings, warnings)


def run(
    context: click.Context, client: Client, work: Callable[["Requester"], Coroutine[Any, Any, int]]
) -> None:
    """Connect, do the `work`, which returns the exit code, and exit. An error of the broker is one line."""
    from ..program.interruptible import run_interruptible  # noqa: PLC0415  as above
    from ..protocol.errors import TaskferryError  # noqa: PLC0415
    from .program import fail, keep_on_at_hangup  # noqa: PLC0415

    keep_on_at_hangup()
    client.warn()
    try:
        code = run_interruptible(lambda: _connect_and(client, work))
    except TaskferryError as error:
        code = fail(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    context.exit(code)


async def _connect_and(client: Client, work: Callable[["Requester"], Coroutine[Any, Any, int]]) -> int:
    async with client.requester as requester:
        await requester.connect(retry=False)
        return await work(requester)
