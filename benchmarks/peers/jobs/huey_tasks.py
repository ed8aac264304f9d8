"""The tasks of huey_jobs, in two queues of one file: what is pickled names this module."""

from huey import SqliteHuey

from ..end_to_end.program import broker_address

_OPTIONS = {"filename": broker_address(), "fsync": True, "timeout": 30}
huey = SqliteHuey("served", **_OPTIONS)
unserved_huey = SqliteHuey("unserved", **_OPTIONS)


@huey.task(name="echo")
def echo(message: str) -> dict[str, str]:
    """Returns the message in the shape in which it arrived."""
    return {"message": message}


@unserved_huey.task(name="unserved")
def unserved(message: str) -> None:
    """Never runs."""
