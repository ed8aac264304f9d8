"""What users make: a set of commands with their handlers, and the ways to serve them."""

import inspect
import ssl
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..configuration.schema import checked
from ..credentials.source import Tokens, TokenSource
from ..log.settings import LogSettings
from ..log.setup import set_up_logging
from ..program.interrupts import handlers_restored
from ..program.own_messages import MessageHandlers
from ..program.threads import check_threads
from ..protocol.limits import COMMANDS_COUNT_MAX
from .canary import check_canary
from .command import Command, ExecutorName
from .program import refuse_while_imported, run_program
from .service import Service
from .settings import BROKER_URL_DEFAULT, WorkerSettings

Handler = TypeVar("Handler", bound=Callable[..., Any])
Parameters = ParamSpec("Parameters")


def _with_parameters_of(
    declaration: Callable[Parameters, WorkerSettings],
) -> Callable[[Callable[..., None]], Callable[Concatenate["Worker", Parameters], None]]:
    """Gives an `__init__` the parameters of `declaration`, for type checkers, editors and `help`, so that they are
    written in one place."""

    def declare(initialize: Callable[..., None]) -> Callable[Concatenate["Worker", Parameters], None]:
        own = next(iter(inspect.signature(initialize).parameters.values()))
        declared = inspect.signature(declaration)
        parameters = (own, *declared.parameters.values())
        initialize.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
        return initialize

    return declare


class Worker:
    """Commands and their handlers.

    `name`: under which the broker knows it (1 to 128 characters, unique at the broker); the default is made of host,
    process id and random digits. `concurrency`: concurrent assignments, 1 to 10,000. `weight`: share relative to other
    workers, 0.01 to 100. `labels`: what requests may target, at most 32. `device`: facts for operators, as names and
    texts, at most 11, besides host, system, Python, process and version. `canary`: one of its commands, which the
    broker may call without data, to check that the worker works and does not just answer pings: a quick one that
    depends on what the others depend on. `encoding`: `json` or `msgpack`. `grace_s`: seconds that running handlers get
    when the worker stops, 0 to 3600. `log_handler_errors`: log what exceptions of handlers say. `thread_count`,
    `process_count`: the most handlers that run in threads (by default one per slot, at most 128) and in processes (by
    default one per slot, at most one per core). `max_tasks_per_process`: after how many calls such a process is
    replaced, 1 to 1,000,000 (by default never).

    Raises ValueError, which names the option and its bound.
    """

    @_with_parameters_of(WorkerSettings)
    def __init__(self, **settings: Any) -> None:
        self.settings: WorkerSettings = checked(WorkerSettings, settings)
        self._commands: dict[str, Command] = {}
        self._messages = MessageHandlers()
        self._service: Service | None = None

    @property
    def commands(self) -> Mapping[str, Command]:
        """The registered commands by name; a view."""
        return MappingProxyType(self._commands)

    def command(
        self,
        name: str | None = None,
        *,
        executor: ExecutorName | None = None,
        attempts: int | None = None,
        backoff: float | Sequence[float] | None = None,
        timeout: float | None = None,
    ) -> Callable[[Handler], Handler]:
        """Serve `name`, by default the function's own name, with the decorated handler.

        The keys of `data` become the handler's parameters, converted to their annotations (strictly: "1" is no int; 1
        is a float). If one is missing, unexpected or of another type, the request fails with `bad_request`. `**kwargs`
        takes what no parameter names. A parameter annotated `Context` receives the context. A handler whose only
        parameter is named `data` receives `data` whole, object or not.

        An `async def` runs in the event loop. A plain `def` runs in a thread, or with `executor="process"` in another
        process, to keep a core busy; if it returns a coroutine, that goes on in the event loop. The result is anything
        that msgspec can write: plain values, dataclasses, structures, dates; a float that is not finite becomes null in
        JSON.

        `attempts`, `backoff` and `timeout` are defaults for jobs of this command; a submitter's own come first. A job
        is tried at most `attempts` times (1 to 100), after waits of `backoff` seconds: one number, or up to 20, of
        which the last is repeated. Each attempt may take `timeout` seconds (up to a week). What is None is the
        broker's default.

        Raises ValueError or TypeError for a handler that cannot be served, or an option out of its bounds. The function
        itself is returned unchanged.
        """
        if callable(name):
            raise TypeError("write @worker.command() with parentheses, or @worker.command(NAME)")

        def register(handler: Handler) -> Handler:
            command = Command(name, handler, executor, attempts=attempts, backoff=backoff, timeout=timeout)
            if command.name in self._commands:
                raise ValueError(f"command {command.name!r}: there is already a handler for it")
            if len(self._commands) >= COMMANDS_COUNT_MAX:
                raise ValueError(
                    f"command {command.name!r}: a worker serves at most {COMMANDS_COUNT_MAX} commands"
                )
            self._commands[command.name] = command
            return handler

        return register

    def message(self, kind: str) -> Callable[[Handler], Handler]:
        """Handle messages of this kind, which requesters and other workers send to this worker or broadcast, with the
        decorated function. It is called with a Message: `kind`, `data` and `sender`, a worker_id or the id of a
        connection.

        An `async def` runs in the event loop; any other function in a thread, one message after the other. What it
        returns is not used, and what it raises is logged. Messages of other kinds are counted (`ignored_count`) and
        ignored; those beyond 1,000 that wait for their handlers are dropped, which is logged.

        Raises ValueError if this kind has a handler.
        """
        return self._messages.on(kind)

    @property
    def ignored_count(self) -> int:
        """Messages that have come and that no handler was registered for."""
        return self._messages.ignored_count

    def send(self, kind: str, data: object = None, *, to: str | None = None) -> None:
        """Send a message of your own to a worker (its worker_id) or a connection (its id, such as the `sender` of a
        message); without `to`, to the broker's plugins. From any thread.

        It is sent once, and not kept: without a connection it is lost, and what the broker refuses is logged. Raises
        RuntimeError if the worker is not serving, BadRequest for an argument that breaks a bound, and TooLarge.
        """
        if self._service is None:
            raise RuntimeError("the worker is not serving")
        self._service.send(kind, data, to)

    def run(
        self, url: str = BROKER_URL_DEFAULT, *, token: Tokens = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve the broker at `url` until SIGTERM or SIGINT, which drain; a second one stops at once.

        `token` proves who this is: a text, or a function, plain or async, that returns a fresh one. It is called for
        each connection, and whenever a login is about to run out; a plain one in a thread. The default is
        TASKFERRY_TOKEN from the environment. `tls`: for a `wss://` URL, the default trusts the authorities of the
        system. A broker that refuses the worker is logged and tried again.

        Threads that handlers have left running when the grace is over do not keep the process from ending, once the
        program has ended.

        Blocks. Raises CannotConnect if `url` is not a WebSocket URL, or not one for the token or for TLS; BadMessage if
        the broker refuses what the worker declares; ValueError if it has no commands, its canary cannot be one, or the
        token cannot be one; RuntimeError in a process in which gevent or eventlet has replaced threads; and SystemExit
        (128 + the signal) when stopped at once, or if a process that the program has started imports it: call this
        under `if __name__ == "__main__":`. Logs to stderr, unless logging has been set up.
        """
        tokens = TokenSource(token)
        del token  # so that no traceback shows it
        refuse_while_imported()
        check_threads(type(self).__name__)
        set_up_logging(LogSettings())
        with handlers_restored():
            code = run_program(self, lambda: self._serve(url, tokens, tls))
        if code:
            raise SystemExit(code)

    async def serve(
        self, url: str = BROKER_URL_DEFAULT, *, token: Tokens = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve the broker at `url` in the running event loop, until `drain` or until cancelled. Arguments and errors
        are those of `run`.

        Cancelling stops at once: handlers are cancelled, and the broker settles what they were doing.
        """
        tokens = TokenSource(token)
        del token  # so that no traceback shows it
        check_threads(type(self).__name__)
        await self._serve(url, tokens, tls)

    async def _serve(self, url: str, tokens: TokenSource, tls: ssl.SSLContext | None) -> None:
        refuse_while_imported()
        tokens.check()
        if not self._commands:
            raise ValueError("the worker has no commands: register a handler with @worker.command()")
        if self.settings.canary is not None:
            check_canary(self.settings.canary, self._commands)
        if self._service is not None:
            raise RuntimeError("the worker is already serving")
        self._service = Service(url, self._commands, self.settings, tokens, tls, self._messages)
        try:
            await self._service.run()
        finally:
            self._service = None

    def drain(self) -> None:
        """Make `serve` take nothing new, finish what runs within the grace, and return. Called in its event loop;
        without effect if the worker is not serving."""
        if self._service is not None:
            self._service.drain()
