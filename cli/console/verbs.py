"""What can be typed at the prompt: a table of verbs, and the command line that each stands for.

Must not know how a command line is run.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ...configuration.kinds import closest


class Mistake(Exception):
    """What was typed is no command of the console: one line that says why, and what may have been meant."""


CommandLines = list[list[str]]
"""Command lines of `taskferry`, to be run one after the other."""


class Verb(NamedTuple):
    """`usage`: what follows the verb, for people. `arguments`: what the words after it become. `completes`: of what
    kind its arguments are, in order; the last kind stands for all that follow."""

    usage: str
    help: str
    arguments: Callable[[Sequence[str]], CommandLines]
    completes: tuple[str, ...] = ()


WORKER: Final = "worker"
COMMAND: Final = "command"
CONNECTION: Final = "connection"
TOPIC: Final = "topic"
DATA: Final = "data"
"""Kinds of arguments."""

TOPICS: Final = ("task:*", "task:list", "task:status", "task:progress", "worker:*", "job:*", "broker:*")


def _passed_on(*name: str) -> Callable[[Sequence[str]], CommandLines]:
    return lambda words: [[*name, *words]]


def _send(words: Sequence[str]) -> CommandLines:
    if len(words) < 2:
        raise Mistake("send: which worker, and which command? send WORKER COMMAND [DATA]")
    worker, command, *rest = words
    return [["request", command, *rest, "--target", worker]]


def _list(words: Sequence[str]) -> CommandLines:
    return [["workers", *words], ["connections", *words]]


VERBS: Final[dict[str, Verb]] = {
    "list": Verb("", "Workers and requesters that are connected now.", _list),
    "status": Verb("", "Requests, queues, jobs.", _passed_on("status")),
    "workers": Verb("", "The workers.", _passed_on("workers")),
    "connections": Verb("", "Who is connected on which port, since when.", _passed_on("connections")),
    "request": Verb(
        "COMMAND [DATA]",
        "Send a request to whichever worker is free.",
        _passed_on("request"),
        (COMMAND, DATA),
    ),
    "send": Verb("WORKER COMMAND [DATA]", "Send a request to this worker.", _send, (WORKER, COMMAND, DATA)),
    "gather": Verb(
        "COMMAND [DATA]", "Send a request to every worker.", _passed_on("gather"), (COMMAND, DATA)
    ),
    "broadcast": Verb("MESSAGE", "Send every worker a message.", _passed_on("broadcast")),
    "watch": Verb("PATTERN...", "Show events as they come.", _passed_on("watch"), (TOPIC,)),
    "explain": Verb("[ID]", "Why a request or a job waits, or who has it.", _passed_on("explain")),
    "drain": Verb(
        "WORKER [--undo]", "Let a worker finish, and give it nothing new.", _passed_on("drain"), (WORKER,)
    ),
    "submit": Verb("COMMAND [DATA]", "Submit a job.", _passed_on("submit"), (COMMAND, DATA)),
    "jobs": Verb("[--state STATE]", "List jobs.", _passed_on("jobs")),
    "job": Verb("show|result|cancel|retry ID", "A job.", _passed_on("job")),
    "kick": Verb("CONNECTION", "Close a connection.", _passed_on("kick"), (CONNECTION,)),
}

HELP: Final = "help"
QUITS: Final = ("quit", "exit")

EXAMPLE: Final = (
    'DATA is JSON ({"message": "Hello"}) or pairs (message=Hello). "VERB --help" shows all options.'
)


def command_lines(words: Sequence[str]) -> CommandLines:
    """The command lines that `words`, at least one, stand for. Raises Mistake."""
    verb = VERBS.get(words[0])
    if verb is not None:
        return verb.arguments(words[1:])
    near = closest(words[0], (*VERBS, HELP, *QUITS))
    hint = f"did you mean {near}?" if near else f"{HELP} lists all"
    raise Mistake(f"no command {words[0]!r}: {hint}")


def help_lines(verb: str | None = None) -> list[str]:
    """What `help` prints, of one verb or of all. Raises Mistake."""
    if verb is not None and verb not in VERBS:
        raise Mistake(f"{HELP}: no command {verb!r}")
    shown = VERBS if verb is None else {verb: VERBS[verb]}
    rows = [(f"{name} {entry.usage}".rstrip(), entry.help) for name, entry in shown.items()]
    if verb is None:
        rows += [(f"{HELP} [VERB]", "This."), ("quit", "Leave the console. So does Ctrl-D.")]
    width = max(len(usage) for usage, _ in rows)
    lines = [f"  {usage:<{width}}  {text}" for usage, text in rows]
    return lines if verb is not None else [*lines, "", f"  {EXAMPLE}"]
