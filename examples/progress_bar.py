"""A progress bar for long work, and its parts as soon as they are ready.

Needs `taskferry broker`, and in this folder `taskferry worker tasks:worker`.
"""

import asyncio
import sys

from rich.progress import Progress as Bar
from taskferry.requester import Progress, Requester, TaskferryError


async def develop(url: str, pictures: int) -> None:
    with Bar() as bar:
        task = bar.add_task("waiting", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.current, total=progress.total, description=progress.text)

        async with Requester(url) as requester:
            async for chunk in requester.stream("develop", {"pictures": pictures}, on_progress=show):
                bar.console.print(f"picture {chunk['picture']} is ready")


if __name__ == "__main__":
    try:
        asyncio.run(develop(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8766", 10))
    except TaskferryError as error:
        sys.exit(f"error: {error} [{error.code}]")
