"""From `MODULE:WORKER` on a command line to the Worker object, or one clear line that says why not."""

import importlib
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Final

from ..configuration import schema
from .worker import Worker

WORKER_ATTRIBUTE: Final = "worker"
"""The attribute used if only a module is named."""

_OURS: Final = tuple(str(Path(file).parent) for file in (__file__, schema.__file__))
_NOT_THE_USERS: Final = ("<frozen", sysconfig.get_path("stdlib"), *_OURS)


class LoadError(Exception):
    """The worker could not be loaded. `is_final`: no change of a file can help."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


def load_worker(target: str) -> Worker:
    """Import the module that `target` names, looking in the current directory first, and return its Worker.

    Raises LoadError.
    """
    module_name, _, attribute = target.partition(":")
    attribute = attribute or WORKER_ATTRIBUTE
    if module_name.endswith(".py") or "/" in module_name or os.sep in module_name:
        dotted = module_name.removesuffix(".py").removeprefix("./").replace(os.sep, ".").replace("/", ".")
        text = f"{module_name!r} is a file; name the module: {dotted.strip('.')}:{attribute}"
        raise LoadError(text, is_final=True)
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise LoadError(f"{target!r} is not of the form MODULE:WORKER", is_final=True)
    module = _import(module_name)
    found = getattr(module, attribute, None)
    if found is None:
        names = [name for name, value in vars(module).items() if isinstance(value, Worker)]
        hint = f"; it has {', '.join(f'{module_name}:{name}' for name in names)}" if names else ""
        raise LoadError(f"module {module_name!r} has no {attribute!r}{hint}")
    if not isinstance(found, Worker):
        raise LoadError(f"{module_name}:{attribute} is a {type(found).__name__}, not a Worker")
    if not found.commands:
        raise LoadError(
            f"{module_name}:{attribute} has no commands; register a handler with @{attribute}.command()"
        )
    return found


def _import(module_name: str) -> object:
    try:
        directory = str(Path.cwd())
    except FileNotFoundError:
        text = "the current directory has been removed: change to another one"
        raise LoadError(text, is_final=True) from None
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        return importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise LoadError(
                f"there is no module {error.name!r} in {directory} or on the Python path"
            ) from None
        raise _failed(module_name, error) from None
    except BaseException as error:
        raise _failed(module_name, error) from None


def _failed(module_name: str, error: BaseException) -> LoadError:
    """The error, and the innermost line of the user's own code that led to it."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        place = f"{error.filename}:{error.lineno}"
        return LoadError(f"{place}: {type(error).__name__}: {error.msg}")
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THE_USERS) and "site-packages" not in frame.filename
    ]
    what = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    if not own:
        return LoadError(f"module {module_name!r}: {what}")
    place = f"{own[-1].filename}:{own[-1].lineno}"
    if isinstance(error, SyntaxError):  # it names no file, and it is not this one
        return LoadError(f"{place}: what is imported here cannot be read as UTF-8 text: {what}")
    return LoadError(f"{place}: {what}")
