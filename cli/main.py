"""The `taskferry` command: one group over the sub-commands, each imported only when it runs.

Must not know what a sub-command does.
"""

import importlib
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

import click

from ..program.command_group import CommandGroup
from ..program.command_line import run


class Entry(NamedTuple):
    """Where a sub-command is, and its line in the help, which is here so that the help imports none of them."""

    module: str
    name: str
    help: str


ENTRIES: Final = {
    "demo": Entry(
        "taskferry.cli.demo.cli", "demo", "Show a broker, workers and requests on this machine, live."
    ),
    "broker": Entry("taskferry.cli.console.with_broker", "broker", "Run a broker."),
    "worker": Entry("taskferry.worker.cli", "worker", "Serve commands to a broker."),
    "request": Entry("taskferry.requester.cli", "request", "Send a request and print its result."),
    "gather": Entry(
        "taskferry.requester.gather_cli", "gather", "Send a request to every worker and print their results."
    ),
    "broadcast": Entry("taskferry.requester.gather_cli", "broadcast", "Send a message to every worker."),
    "submit": Entry(
        "taskferry.requester.jobs.submit_cli", "submit", "Submit a job, or one for each line of a file."
    ),
    "jobs": Entry("taskferry.requester.jobs.jobs_cli", "jobs", "List jobs."),
    "job": Entry(
        "taskferry.requester.jobs.jobs_cli", "job", "Show, cancel or retry a job, or wait for its result."
    ),
    "watch": Entry(
        "taskferry.requester.watch_cli", "watch", "Show what happens to requests, jobs and workers, live."
    ),
    "schedule": Entry("taskferry.requester.jobs.schedule_cli", "schedule", "Submit a job again and again."),
    "workers": Entry("taskferry.cli.inspection", "workers", "List the workers of a running broker."),
    "connections": Entry(
        "taskferry.cli.inspection", "connections", "List who is connected to a running broker."
    ),
    "status": Entry("taskferry.cli.inspection", "status", "Show the state of a running broker."),
    "explain": Entry("taskferry.cli.inspection", "explain", "Explain why a request or a job still waits."),
    "check-config": Entry(
        "taskferry.cli.check_config",
        "check_config",
        "Check a configuration file and show the settings in force.",
    ),
    "config": Entry("taskferry.cli.config_file", "config", "Write a configuration file to begin with."),
    "journal": Entry("taskferry.cli.journal", "journal", "Show, check or copy a journal of jobs."),
    "token": Entry("taskferry.cli.token", "token", "Make, check and list tokens of the access file."),
    "can": Entry("taskferry.cli.can", "can", "Say whether an identity may do something, and why."),
    "drain": Entry("taskferry.cli.drain", "drain", "Let a worker finish, and give it nothing new."),
    "kick": Entry("taskferry.cli.kick", "kick", "Close connections, whose peers may connect again."),
    "console": Entry("taskferry.cli.console.cli", "console", "Operate a running broker from a prompt."),
}


class LazyGroup(CommandGroup):
    """A group whose sub-commands are the ENTRIES."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a sub-command. None if there is none of this name."""
        entry = ENTRIES.get(cmd_name)
        if entry is None:
            return None
        try:
            module = importlib.import_module(entry.module)
        except ModuleNotFoundError as error:
            raise click.ClickException(f"{cmd_name} is not part of this installation: {error}") from None
        command: click.Command = getattr(module, entry.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The line of each sub-command, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in ENTRIES.items()])


@click.group(cls=LazyGroup)
@click.version_option(package_name="taskferry", message="%(package)s %(version)s")
def taskferry() -> None:
    """Taskferry sends requests to workers on many machines, through one broker.

    \b
    See it at work:  taskferry demo
    Or by hand:      taskferry broker
                     taskferry worker
                     taskferry request echo message=Hello
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. `arguments` are by default those of the process."""
    run(taskferry, "taskferry", arguments)
