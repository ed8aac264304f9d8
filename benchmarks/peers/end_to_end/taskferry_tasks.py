"""A Taskferry user's worker module: `taskferry worker benchmarks.peers.end_to_end.taskferry_tasks:worker`."""

from taskferry.worker import Worker

worker = Worker()


@worker.command("echo")
async def echo(message: str) -> dict[str, str]:
    """The message, unchanged."""
    return {"message": message}
