"""A requester with the SDK: many requests at once, typed results, errors, and the same from plain threads.

Needs a broker and a worker with the built-in commands: `taskferry broker`, `taskferry worker`.
"""

import asyncio
import sys

from taskferry.requester import BlockingRequester, HandlerError, Requester, TaskferryError


async def ask(url: str) -> None:
    async with Requester(url) as requester:
        # One call. The result is what the handler returned.
        print(await requester.call("echo", {"message": "Hello World"}, timeout=5))

        # Many at once over the same connection, answered in any order.
        sums = await asyncio.gather(
            *(requester.call("calculate", {"a": n, "b": n, "op": "+"}, type=int) for n in range(5))
        )
        print(sums)

        # Every failure is an exception with a code: what went wrong, where, and whether it is worth a retry.
        try:
            await requester.call("calculate", {"a": 1, "b": 0, "op": "/"})
        except HandlerError as error:
            print(f"{error.code}: {error.text} (from {error.processed_by}, retryable: {error.retryable})")

        # `request` returns the whole response instead, also for a failure.
        response = await requester.request("no_such_command")
        print(response.success, response.code, response.error)


def ask_without_asyncio(url: str) -> None:
    with BlockingRequester(url) as requester:
        print(requester.call("echo", {"message": "Hello from a thread"}, idempotent=True))


if __name__ == "__main__":
    broker_url = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8766"
    try:
        asyncio.run(ask(broker_url))
        ask_without_asyncio(broker_url)
    except TaskferryError as error:
        sys.exit(f"error: {error} [{error.code}]")
