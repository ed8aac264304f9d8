"""`taskferry worker`: its options, exit codes and error lines. `python -m taskferry.worker` does the same.

What runs a worker is imported only when it is needed, so that `--help` is quick.
"""

import logging
import signal
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ..configuration.sources import ConfigurationError, Sourced
from ..log.settings import LOG
from ..program.command_line import Refused
from ..program.environment import unknown_variables
from ..program.interrupts import raise_at_interrupt
from ..program.options import program_options, sources_of
from ..program.table_options import flags_of
from .settings import WORKER, WorkerOptions, WorkerSettings

if TYPE_CHECKING:
    from ..log.event import Event
    from ..log.settings import LogSettings
    from ..program.reload import Reload
    from .source_watch import SourceWatch
    from .worker import Worker

logger = logging.getLogger(__name__)

BUILTIN_TARGET: Final = "taskferry.worker.builtin:worker"


@click.command(
    "worker",
    short_help="Serve commands to a broker.",
)
@click.argument("target", metavar="[MODULE:WORKER]", required=False)
@click.option("-v", "--verbose", is_flag=True, help="Same as --log-level debug.")
@click.option("--child", "child_number", type=int, hidden=True)
@click.option("--child-name", hidden=True)
@click.option("--child-quiet", "is_quiet", is_flag=True, hidden=True)
@click.pass_context
def worker(
    context: click.Context,
    /,
    *,
    target: str | None,
    verbose: bool,
    child_number: int | None,
    child_name: str | None,
    is_quiet: bool,
    **_: Any,
) -> None:
    """Serve the commands of a Worker object, such as `tasks:worker`, in a module of the current directory or an
    installed one. Without it, serve the built-in commands: echo, get_time, calculate, get_system_info.

    SIGTERM and Ctrl-C stop the worker once running handlers have finished, after --grace seconds at most; jobs that
    have not finished by then are given back to the broker. A second signal stops it at once.

    Exit codes: 0 stopped as asked; 2 an option is wrong, the module cannot be loaded, or the broker refuses the worker;
    130, 143 stopped at once.
    """
    raise_at_interrupt()
    try:
        start = _read(context, is_verbose=verbose)
        options = start.reload.settings
        if child_number is None and (options.processes > 1 or options.reload):
            code = _supervise(start, context, target)
        else:
            code = _serve(
                target or BUILTIN_TARGET,
                start,
                child_number=child_number,
                child_name=child_name,
                is_quiet=is_quiet,
            )
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    context.exit(code)


class _Start(NamedTuple):
    """What the program was started with: its settings, kept by `reload`; the values `given` for them, by field; the
    settings of its log; what is unsafe or useless, for the log."""

    reload: "Reload[WorkerOptions]"
    given: dict[str, Any]
    log: "LogSettings"
    warnings: "list[Event]"

    def again(self) -> None:
        """SIGHUP. No setting of [worker] is live: a worker sends them to the broker only when it connects."""
        self.reload.again(lambda options: None)


def _read(context: click.Context, *, is_verbose: bool) -> _Start:
    from ..credentials.settings import unverified  # noqa: PLC0415  # as the module's docstring says
    from ..program.reload import Reload  # noqa: PLC0415  # likewise

    sources = sources_of(context, WORKER)
    if is_verbose:
        sources.given[LOG.name]["level"] = Sourced("debug", "-v")
    try:
        configuration = sources.read()
    except ConfigurationError as error:
        raise Refused(str(error)) from None
    options = configuration.settings(WORKER)
    return _Start(
        Reload(sources, configuration, WORKER),
        configuration.given(WORKER),
        configuration.settings(LOG),
        [*unknown_variables(context), *unverified(options, options.broker)],
    )


def _supervise(start: _Start, context: click.Context, target: str | None) -> int:
    from ..log.setup import set_up_logging  # noqa: PLC0415  # likewise
    from .name import default_name  # noqa: PLC0415
    from .supervisor import Supervisor  # noqa: PLC0415

    set_up_logging(start.log)
    process_count = start.reload.settings.processes
    # -P: a file in the current directory must not replace a module of Python or of ours.
    arguments = ["-P", "-m", "taskferry.worker", *([target] if target else []), *flags_of(context)]
    arguments += ["--child-name", default_name()]

    def child_arguments(number: int, is_first_start: bool) -> list[str]:
        # All children fail to load for the same reason: only the first one reports it.
        quiet = ["--child-quiet"] if is_first_start and number > 1 else []
        return [*arguments, "--child", str(number if process_count > 1 else 0), *quiet]

    return Supervisor(process_count, child_arguments, start.again).run()


def _serve(
    target: str, start: _Start, *, child_number: int | None, child_name: str | None, is_quiet: bool
) -> int:
    """One worker in this process. `child_number`: it is the child of a supervisor (0: the only one)."""
    from ..credentials.settings import login_from  # noqa: PLC0415  # likewise
    from ..log.event import log_event  # noqa: PLC0415
    from ..log.setup import set_up_logging  # noqa: PLC0415
    from ..protocol.errors import BadMessage, CannotConnect  # noqa: PLC0415
    from .loading import LoadError, load_worker  # noqa: PLC0415
    from .program import EXIT_RELOAD, run_program, stop_when_supervisor_ends  # noqa: PLC0415

    options = start.reload.settings
    is_child = child_number is not None
    if is_child:
        stop_when_supervisor_ends()
    sources = _watch() if is_child and options.reload else None
    try:
        found = load_worker(target)
        _apply(start.given, found, child_number, child_name)
        if options.reload:  # whoever edits the source wants to know what is wrong with it
            found.settings = replace(found.settings, log_handler_errors=True)
        set_up_logging(start.log, is_one_of_many=is_child)
        login = login_from(options)
        if child_number is None or child_number <= 1:  # once for all children
            for warning in start.warnings:
                log_event(logger, warning)
        return run_program(
            found,
            lambda: found.serve(options.broker, token=login.token, tls=login.tls),
            is_supervised=is_child,
            is_whole=True,
            sources=sources,
            on_reload=start.again,
        )
    except LoadError as error:
        if sources is not None and not error.is_final:
            click.echo(f"error: {error}\nWaiting for the source to change ...", err=True)
            sources.wait()
            return EXIT_RELOAD
        failure: Exception = error
    except (ValueError, BadMessage, CannotConnect) as error:
        failure = error
    if is_quiet:
        return Refused.exit_code
    raise Refused(str(failure))


def _watch() -> "SourceWatch":
    from .source_watch import SourceWatch, WatchError  # noqa: PLC0415  # likewise

    try:
        return SourceWatch()
    except WatchError as error:
        raise Refused(str(error)) from None


def _apply(given: dict[str, Any], found: "Worker", child_number: int | None, child_name: str | None) -> None:
    """The operator's settings override the module's. The name of a child ends with its number."""
    of_worker = {declared.name for declared in fields(WorkerSettings)}
    settings = replace(found.settings, **{name: given[name] for name in given.keys() & of_worker})
    if child_number:
        name = f"{settings.name or child_name}-{child_number}"
        try:
            WORKER.settings["name"].kind.convert(name)
        except ValueError as error:
            raise ValueError(f"name: {error}") from None
        settings = replace(settings, name=name)
    elif child_number is not None:
        settings = replace(settings, name=settings.name or child_name)
    found.settings = settings


worker.params[1:1] = program_options(WORKER)
