"""Whether threads are threads: gevent and eventlet can replace them, for all code of the process.

An event loop in such a "thread" never lets other code run, and a handler in one, or the queue before it, never ends.
"""

import sys
from typing import Final

_REPLACERS: Final = (
    (
        "gevent.monkey",
        "is_module_patched",
        ("_thread", "queue"),
        "monkey.patch_all(thread=False, queue=False)",
    ),
    ("eventlet.patcher", "is_monkey_patched", ("thread",), "eventlet.monkey_patch(thread=False)"),
)
"""A module, its function that says whether a part of the standard library is replaced, the parts, and what to call
instead."""


def check_threads(what: str) -> None:
    """Raise RuntimeError, which says that `what` needs threads, if they have been replaced in this process."""
    for module, function, parts, instead in _REPLACERS:
        replacer = sys.modules.get(module)
        if replacer is not None and any(map(getattr(replacer, function), parts)):
            name = module.partition(".")[0]
            raise RuntimeError(
                f"{what} needs threads, and {name} has replaced them in this process: call {instead}"
            )
