"""`taskferry broker`: options from the settings' own table, one clear line for what is wrong, then `run`."""

import logging
from pathlib import Path
from typing import Any

import click
import msgspec

from .settings import BrokerSettings, SettingsError, read_file, settings_from

USAGE_ERROR = 2
LOG_LEVELS = ("debug", "info", "warning", "error")


def _options() -> list[click.Option]:
    """One option for each setting, named after it, with its environment variable, its bounds and its default."""
    options = []
    information = msgspec.inspect.type_info(BrokerSettings)
    assert isinstance(information, msgspec.inspect.StructType)
    for field in information.fields:
        described = field.type
        assert isinstance(described, msgspec.inspect.Metadata), f"{field.name} has a description"
        if isinstance(described.type, msgspec.inspect.DictType):
            continue  # a table stands in the file alone
        help_text = (described.extra_json_schema or {})["description"]
        match described.type:
            case msgspec.inspect.IntType(ge=low, le=high):
                kind: click.ParamType[Any] = click.IntRange(low, high)
            case msgspec.inspect.FloatType(gt=above, ge=low, le=high):
                kind = click.FloatRange(low if above is None else above, high, min_open=above is not None)
            case _:
                kind = click.STRING
        options.append(
            click.Option(
                [f"--{field.name.replace('_', '-')}"],
                type=kind,
                envvar=f"TASKFERRY_BROKER_{field.name.upper()}",
                show_envvar=True,
                help=f"{help_text}  [default: {field.default}]",
            )
        )
    return options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="TASKFERRY_BROKER_CONFIG",
    show_envvar=True,
    help="TOML file with a table [broker]; its keys are the options below, with _ for -, and "
    "a table [broker.strategies] of command patterns.",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="info",
    envvar="TASKFERRY_LOG_LEVEL",
    show_envvar=True,
    show_default=True,
    help="What is logged on standard error.",
)
def broker(config: Path | None, log_level: str, **options: Any) -> None:
    """Run a broker: workers dial in on one port, requesters on another, operators look in by HTTP.

    Settings come from the command line, else the environment, else the --config file, else the defaults. Stops on
    SIGTERM or Ctrl-C once requests in flight have ended (--grace seconds at most); a second signal stops it at once.

    Exit code 0 after an orderly stop, 2 for a setting or a port that cannot be had.
    """
    from .broker import PortTaken  # noqa: PLC0415  `--help` must not wait for the network libraries
    from .run import run  # noqa: PLC0415

    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        in_file = read_file(config) if config is not None else {}
        settings = settings_from(in_file | given, source="broker")
        run(settings)
    except (SettingsError, PortTaken) as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(USAGE_ERROR) from None


broker.params[1:1] = _options()
