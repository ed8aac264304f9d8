"""Finds the packages, and builds what is written twice or worth compiling; all else is in pyproject.toml.

Each folder with a `py.typed` is a package: `broker/core` is installed as `taskferry.broker.core`. `taskferry` itself is
a namespace, with what is in `namespace/`.

What is C by hand (`BY_HAND` below) is built always. A wheel, and so every installation but an editable one,
has the modules of the hot path (`COMPILED` below) compiled to C by mypyc, from the same sources. Without a C compiler,
or with TASKFERRY_PURE=1, nothing is built: the package is slower then, and otherwise the same. With
TASKFERRY_COMPILED=1 what cannot be built is an error.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
COMPILED = (
    "broker/access/**/*.py",
    "broker/core/**/*.py",
    "broker/core_timer.py",
    "broker/jobs/**/*.py",
    "broker/request_streams.py",
    "broker/requester_session.py",
    "broker/session_context.py",
    "broker/topic_desk.py",
    "broker/topic_requests.py",
    "broker/topics/**/*.py",
    "broker/worker_session.py",
    "loadbalance/**/*.py",
    "protocol/chunk_frames.py",
    "protocol/frequent.py",
    "protocol/stream_window.py",
    "transport/backlog.py",
    "transport/counts.py",
    "transport/framing.py",
    "transport/group.py",
    "transport/link.py",
    "transport/taken.py",
)
BY_HAND = ("protocol._json", "protocol._to_json", "protocol._to_msgpack", "transport._frames")
NOT_COMPILED = ("broker/jobs/packed.py",)
"""Classes of msgspec: mypyc keeps less of annotations than it needs."""
CHEAPER = ("-g0", "-Wno-misleading-indentation")
"""Without either, compiling takes twice as long, for the same instructions. A debugger has no use for C that nobody
wrote. To compare the indentation of two lines, gcc reads the file again from its start, and mypyc writes 80 MB."""


def packages() -> dict[str, str]:
    """Each package and its folder: `{"taskferry.broker.core": "broker/core", ...}`."""
    roots = sorted(marker.parent for marker in ROOT.glob("*/py.typed"))
    folders = [marker.parent.relative_to(ROOT) for root in roots for marker in sorted(root.rglob("py.typed"))]
    return {".".join(("taskferry", *folder.parts)): folder.as_posix() for folder in folders}


def extensions() -> list[Extension]:
    """What is to be built for this installation."""
    if os.environ.get("TASKFERRY_PURE") == "1":
        return []
    built = [
        Extension(
            f"taskferry.{name}",
            [f"{name.replace('.', '/')}.c"],
            depends=[path.relative_to(ROOT).as_posix() for path in ROOT.glob(f"{name.split('.')[0]}/*.h")],
            extra_compile_args=["-O3"],
        )
        for name in BY_HAND
    ]
    if "bdist_wheel" in sys.argv:
        built += compiled_modules()
    for extension in built:
        extension.optional = os.environ.get("TASKFERRY_COMPILED") != "1"
    return built


def compiled_modules() -> list[Extension]:
    """The hot path as C. mypyc finds modules by the folders they lie in, so it is given the tree as it is installed."""
    from mypyc.build import mypycify  # noqa: PLC0415  a build without it must do

    tree = ROOT / "build" / "sources"
    shutil.rmtree(tree, ignore_errors=True)
    for marker in ROOT.glob("*/py.typed"):
        package, ignored = marker.parent, shutil.ignore_patterns("*.so", "*.pyd")
        shutil.copytree(package, tree / "taskferry" / package.name, ignore=ignored)
    package = tree / "taskferry"
    paths = {path for pattern in COMPILED for path in package.glob(pattern)}
    paths -= {package / name for name in NOT_COMPILED}
    # A package that is whole goes before one of the same name that happens to be installed.
    (tree / "taskferry" / "__init__.py").touch()
    os.environ["MYPYPATH"] = str(tree)
    options = ["--config-file=", f"--cache-dir={ROOT / 'build' / 'mypy'}"]
    options += ["--namespace-packages", "--explicit-package-bases", "--ignore-missing-imports"]
    modules = mypycify([*options, *map(str, sorted(paths))], opt_level="2", group_name="taskferry")
    if sys.platform != "win32":
        for module in modules:
            module.extra_compile_args = [*module.extra_compile_args, *CHEAPER]
    return modules


PACKAGES = {"taskferry": "namespace"} | packages()

setup(packages=list(PACKAGES), package_dir=PACKAGES, ext_modules=extensions())
