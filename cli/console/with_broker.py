"""`taskferry broker`, which with `--console` also opens a console: the broker's own command, and one more option."""

import os
from typing import Any, Final

import click

from ...broker.cli import broker as plain_broker
from ...broker.settings import BROKER
from ...program.exit_codes import FAILED
from ...program.options import sources_of
from ..http_port import HTTP_VARIABLE, HttpPortError, LoginFlags, fail, port_at
from .cli import BROKER_VARIABLE, history_path, serve

FLAG: Final = "--console"

_NO_LOGIN: Final = LoginFlags(None, None, None, None, False)
"""But for the token in the environment."""


class BrokerCommand(click.Command):
    """Runs a broker; with FLAG in a process of its own, under a console."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, for that process."""
        ctx.meta[__name__] = [word for word in args if word != FLAG]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run."""
        if not ctx.params.pop("console"):
            return super().invoke(ctx)
        return _open_console(ctx, ctx.meta[__name__])


def _open_console(context: click.Context, arguments: list[str]) -> None:
    from .own_broker import NotStarted, OwnBroker  # noqa: PLC0415  for a quick --help

    try:
        own = OwnBroker(arguments)
    except NotStarted as error:
        context.exit(error.exit_code)
    os.environ |= {BROKER_VARIABLE: own.broker_url, HTTP_VARIABLE: own.http_url}
    try:
        port = port_at(own.http_url, _NO_LOGIN)
        greeting = f"taskferry broker: workers connect to {own.worker_url}, requesters to {own.broker_url}"
        code = serve(port, greeting, history=history_path(), is_over=lambda: own.has_ended)
        if own.has_ended:
            click.echo(f"error: the broker {own.end}", err=True)
            code = code or FAILED
    except HttpPortError as error:
        fail(context, error)
    finally:
        own.stop(sources_of(context, BROKER).read().settings(BROKER).grace_s)
    context.exit(code)


broker = BrokerCommand(
    plain_broker.name,
    callback=plain_broker.callback,
    params=[
        *plain_broker.params,
        click.Option(
            [FLAG],
            is_flag=True,
            help="Open a console as well (see taskferry console), above which the log is shown; leaving it stops the "
            "broker. With an access file its token is TASKFERRY_TOKEN.",
        ),
    ],
    help=plain_broker.help,
    epilog=plain_broker.epilog,
)
