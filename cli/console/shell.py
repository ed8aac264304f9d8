"""The loop of the console: a line, what it does, the next line.

A command runs in this process as `taskferry` itself would run it, so that it prints the same tables, lines and errors;
Ctrl-C ends the command, not the console. From a pipe the lines are read without a prompt.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from ...log.printable import printable
from ...program.command_line import exit_code_of
from ...program.exit_codes import SUCCESS, USAGE
from ...program.interrupts import handlers_restored, raise_at_interrupt
from ..http_port import HttpPort
from .completion import ConsoleCompleter, Keys, Names, options_of
from .line import LineError, words_of
from .verbs import HELP, QUITS, Mistake, command_lines, help_lines

HISTORY_SIZE_BYTES_MAX: Final = 256 * 1024
"""Of the file of lines typed before; beyond it the older half is dropped at the next start."""

END_LOOK_INTERVAL_S: Final = 0.5
"""How often a prompt that waits for a line looks whether it is over."""

NAME: Final = "taskferry"
PROMPT: Final = "taskferry> "


class Shell:
    """Reads lines and runs them against one broker. `group`: the sub-commands of `taskferry`. `is_over`: whether to
    leave, although nobody has asked to."""

    def __init__(
        self, group: click.Group, port: HttpPort, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self._group = group
        self._port = port
        self._is_over = is_over
        self._keys = Keys()

    def run(self, history: Path | None, greeting: str) -> int:
        """Serve until `quit`, Ctrl-D or the end of the input. At a terminal, which is shown `greeting` first, the exit
        code is 0; in a pipe that of the last command that failed."""
        if sys.stdin.isatty() and sys.stdout.isatty():
            click.echo(f"{printable(greeting)}: help lists the commands, Ctrl-D quits")
            self._serve_terminal(history)
            return SUCCESS
        return self._serve_pipe(sys.stdin)

    def do(self, line: str) -> int | None:
        """Run one line. Returns the exit code of its last command; None for `quit`."""
        try:
            words = words_of(line)
            if not words:
                return SUCCESS
            if words[0] in QUITS:
                return None
            if words[0] == HELP:
                _print_lines(help_lines(*words[1:2]))
                return SUCCESS
            lines = command_lines(words)
        except (LineError, Mistake) as error:
            click.echo(f"error: {printable(str(error))}", err=True)
            return USAGE
        self._keys.learn(line)
        code = SUCCESS
        for number, arguments in enumerate(lines):
            if number:
                click.echo()
            with handlers_restored():
                raise_at_interrupt()
                code = exit_code_of(self._group, NAME, arguments)
        return code

    def _serve_pipe(self, lines: Iterable[str]) -> int:
        failed = SUCCESS
        for line in lines:
            code = self.do(line)
            if code is None or self._is_over():
                break
            failed = code or failed
        return failed

    def _serve_terminal(self, path: Path | None) -> None:
        history = _history(path)
        for line in reversed(list(history.load_history_strings())):
            self._keys.learn(line)
        session: PromptSession[str] = PromptSession(
            history=history,
            completer=ConsoleCompleter(Names(self._port), self._keys, self._options),
            complete_in_thread=True,  # it asks the broker
            complete_while_typing=False,
        )
        while not self._is_over():
            try:
                with _printing_above():
                    line = session.prompt(PROMPT, pre_run=self._leave_when_over)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if self.do(line) is None:
                return

    def _leave_when_over(self) -> None:
        app = get_app()

        async def look() -> None:
            while not self._is_over():  # noqa: ASYNC110  nobody signals the end of a process
                await asyncio.sleep(END_LOOK_INTERVAL_S)
            app.exit(exception=EOFError)

        app.create_background_task(look())

    def _options(self, verb: str) -> list[str]:
        try:
            arguments = command_lines([verb, "x", "x"])
        except Mistake:
            return []
        name = arguments[0][0]
        return options_of(self._group.get_command(click.Context(self._group, info_name=NAME), name))


def _printing_above() -> AbstractContextManager[None]:
    """What others print, such as the log of a broker started here, goes above the prompt."""
    return patch_stdout(raw=True) if sys.stdout.isatty() else nullcontext()


def _history(path: Path | None) -> History:
    """The lines typed before; only those of this session if they cannot be kept."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # data may be anybody's secret
        if path.stat().st_size > HISTORY_SIZE_BYTES_MAX:
            _drop_older_half(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        click.echo(f"warning: {path}: {reason}: what you type is not remembered", err=True)
        return InMemoryHistory()
    return FileHistory(path)


def _drop_older_half(path: Path) -> None:
    """Entries of the file begin with an empty line."""
    content = path.read_bytes()
    begin = content.find(b"\n\n", len(content) // 2)
    path.write_bytes(content[begin:] if begin >= 0 else b"")


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)
