"""`taskferry worker`: options, exit codes, and what a person sees. `python -m taskferry.worker` does the same.

Knows names, bounds and help of the options; what they set in motion is loaded only once it is needed, so that
`--help` is quick.
"""

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ..protocol import limits as wire
from . import limits

if TYPE_CHECKING:
    from .worker import Worker

Function = TypeVar("Function", bound=Callable[..., Any])

URL_DEFAULT: Final = "ws://localhost:8765"
BUILTIN_TARGET: Final = "taskferry.worker.builtin:worker"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class Refused(click.ClickException):
    """What trying again cannot mend: one line, exit code 2."""

    exit_code = 2


class Label(click.ParamType["tuple[str, str]"]):
    """`K=V`."""

    name = "K=V"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first `=`."""
        key, separator, text = str(value).partition("=")
        if not key or not separator:
            self.fail(f"{value!r} is not of the form K=V", param, ctx)
        return key, text


def _option(name: str, *aliases: str, **attributes: Any) -> Callable[[Function], Function]:
    """An option that may also be given by environment: `--broker` by TASKFERRY_WORKER_BROKER, and so on."""
    variable = "TASKFERRY_WORKER_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *aliases, envvar=variable, show_envvar=True, **attributes)


@click.command(
    "worker",
    short_help="Serve commands to a broker.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("target", metavar="[MODULE:WORKER]", required=False)
@_option("--broker", metavar="URL", default=URL_DEFAULT, show_default=True, help="The broker's worker port.")
@_option("--name", metavar="NAME", help="Unique at the broker. By default host, process id and chance.")
@_option(
    "--concurrency",
    type=click.IntRange(1, wire.CONCURRENCY_MAX),
    help=f"Assignments at a time.  [default: the module's, else {limits.CONCURRENCY_DEFAULT}]",
)
@_option(
    "--weight",
    type=click.FloatRange(wire.WEIGHT_MIN, wire.WEIGHT_MAX),
    help=f"Share relative to other workers.  [default: the module's, else {wire.WEIGHT_DEFAULT:g}]",
)
@_option(
    "--label",
    "labels",
    type=Label(),
    multiple=True,
    help="What requests may be targeted by. May be repeated.",
)
@_option(
    "--canary",
    metavar="COMMAND",
    help="The command that the broker may call, without data, to see that the worker works.",
)
@_option(
    "--encoding",
    type=click.Choice(["json", "msgpack"]),
    help="How messages are written.  [default: the module's, else json]",
)
@_option(
    "--grace",
    type=click.FloatRange(0, limits.GRACE_S_MAX),
    help=f"Seconds to finish in when told to stop.  [default: the module's, else {limits.GRACE_S_DEFAULT:g}]",
)
@_option(
    "--processes",
    type=click.IntRange(1, limits.PROCESS_COUNT_MAX),
    default=1,
    show_default=True,
    help="Worker processes, each with its own connection; one that dies is replaced.",
)
@_option("--reload", is_flag=True, help="Start anew when the source changes. For development.")
@_option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="info",
    show_default=True,
    help="What to log, to stderr.",
)
@click.option("-v", "--verbose", is_flag=True, help="The same as --log-level debug.")
@click.option("--child", "child_number", type=int, hidden=True)
@click.option("--child-name", hidden=True)
@click.option("--child-quiet", "is_quiet", is_flag=True, hidden=True)
@click.pass_context
def worker(
    context: click.Context,
    *,
    target: str | None,
    broker: str,
    name: str | None,
    concurrency: int | None,
    weight: float | None,
    labels: tuple[tuple[str, str], ...],
    canary: str | None,
    encoding: str | None,
    grace: float | None,
    processes: int,
    reload: bool,
    log_level: str,
    verbose: bool,
    child_number: int | None,
    child_name: str | None,
    is_quiet: bool,
) -> None:
    """Serve the commands of a Worker object, such as `tasks:worker`, found in the current directory or installed.

    Without one, serve the built-in commands: echo, get_time, calculate, get_system_info.

    SIGTERM and Ctrl-C let running handlers finish; a second one stops at once. Exit codes: 0 stopped as asked;
    2 wrong options, a module that does not load, a broker that refuses the worker; 130, 143 stopped at once.
    """
    level = logging.DEBUG if verbose else getattr(logging, log_level.upper())
    given = {
        "name": name,
        "concurrency": concurrency,
        "weight": weight,
        "labels": dict(labels) or None,
        "canary": canary,
        "encoding": encoding,
        "grace_s": grace,
    }
    try:
        if child_number is None and (processes > 1 or reload):
            code = _supervise(context, target, processes, level)
        else:
            code = _serve(
                target or BUILTIN_TARGET,
                broker,
                {key: value for key, value in given.items() if value is not None},
                level,
                child_number=child_number,
                child_name=child_name,
                is_reloading=reload,
                is_quiet=is_quiet,
            )
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    context.exit(code)


def _supervise(context: click.Context, target: str | None, process_count: int, level: int) -> int:
    from .name import default_name  # noqa: PLC0415  # loaded when needed: see the module's docstring
    from .program import set_up_logging  # noqa: PLC0415
    from .supervisor import Supervisor  # noqa: PLC0415

    set_up_logging(level, is_child=False)
    options = context.params
    # -P: what lies in the current directory must not pass for a module of Python's or of ours.
    arguments = ["-P", "-m", "taskferry.worker", *([target] if target else [])]
    for name in ("broker", "name", "concurrency", "weight", "canary", "encoding", "grace"):
        if options[name] is not None:
            arguments += [f"--{name}", str(options[name])]
    for key, text in options["labels"]:
        arguments += ["--label", f"{key}={text}"]
    if options["reload"]:
        arguments.append("--reload")
    arguments += ["--log-level", logging.getLevelName(level).lower(), "--child-name", default_name()]

    def child_arguments(number: int, is_first_start: bool) -> list[str]:
        # Children fail to load for the same reason: at first one of them says so for all.
        quiet = ["--child-quiet"] if is_first_start and number > 1 else []
        return [*arguments, "--child", str(number if process_count > 1 else 0), *quiet]

    return Supervisor(process_count, child_arguments).run()


def _serve(
    target: str,
    url: str,
    given: dict[str, Any],
    level: int,
    *,
    child_number: int | None,
    child_name: str | None,
    is_reloading: bool,
    is_quiet: bool,
) -> int:
    """One worker in this process, which is a supervisor's child where `child_number` is given (0: the only one)."""
    from ..protocol.errors import BadMessage, CannotConnect  # noqa: PLC0415  # loaded when needed, as above
    from .loading import LoadError, load_worker  # noqa: PLC0415
    from .program import (  # noqa: PLC0415
        EXIT_RELOAD,
        run_program,
        set_up_logging,
        stop_when_supervisor_ends,
    )
    from .source_watch import SourceWatch  # noqa: PLC0415

    is_child = child_number is not None
    if is_child:
        stop_when_supervisor_ends()
    sources = SourceWatch(Path.cwd()) if is_child and is_reloading else None
    try:
        found = load_worker(target)
        _apply(given, found, child_number, child_name)
        set_up_logging(level, is_child=is_child)
        return run_program(found, url, is_supervised=is_child, sources=sources)
    except LoadError as error:
        if sources is not None and sources.include(error.sources):
            click.echo(f"Error: {error}\nWaiting for it to be mended ...", err=True)
            sources.wait()
            return EXIT_RELOAD
        failure: Exception = error
    except (ValueError, BadMessage, CannotConnect) as error:
        failure = error
    if is_quiet:
        return Refused.exit_code
    raise Refused(str(failure))


def _apply(given: dict[str, Any], found: "Worker", child_number: int | None, child_name: str | None) -> None:
    """What the command line says comes before what the module says; a child's number ends its name."""
    import msgspec  # noqa: PLC0415  # loaded when needed, as above

    from .settings import settings_from  # noqa: PLC0415

    values = {**msgspec.structs.asdict(found.settings), **given}
    if child_number is not None:
        name = values["name"] or child_name
        values["name"] = f"{name}-{child_number}" if child_number else name
    found.settings = settings_from(values)
