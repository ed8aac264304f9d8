"""A group of sub-commands that says which one may have been meant."""

import click

from ..configuration.kinds import closest


class CommandGroup(click.Group):
    """A group whose error for an unknown sub-command names the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The sub-command that `args` begin with. Raises UsageError."""
        name = args[0]
        names = self.list_commands(ctx)
        near = None if name in names or name.startswith("-") else closest(name, names)
        if near is not None and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}; did you mean {near}?")
        return super().resolve_command(ctx, args)
