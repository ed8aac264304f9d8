"""`python -m tests.fuzz.guided TARGET`: the same targets under atheris (libFuzzer), which follows what code an input
reaches.

The C is built by clang with coverage and sanitizers, and atheris's copy of libFuzzer is loaded before everything else:
`make fuzz` sees to both. What reaches new code is kept in `.cache/fuzz/TARGET-corpus`; `--keep` adds to the corpus in
the repository the shortest of these for each kind of answer that nothing there gets.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

import atheris

from tests.fuzz.__main__ import CORPUS, LAST, TARGETS
from tests.fuzz.mutation import SIZE_BYTES_MAX

KEPT_COUNT_MAX: Final = 60
"""Inputs of one target in the repository: they are run each time, and someone may have to read one."""


def main() -> None:
    """Ends the process with libFuzzer's exit code: 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--keep", action="store_true", help="add what is answered in a new way to the repository's corpus"
    )
    options = parser.parse_args()
    with atheris.instrument_imports(include=["taskferry"]):
        target = import_module(f"tests.fuzz.{options.target}_target")
    found = LAST / f"{options.target}-corpus"
    found.mkdir(parents=True, exist_ok=True)
    words = _dictionary(target.WORDS, LAST / f"{options.target}.dict")
    arguments = [
        sys.argv[0],
        f"-max_len={SIZE_BYTES_MAX}",
        "-timeout=60",
        f"-artifact_prefix={LAST}/",
        f"-dict={words}",
    ]
    if options.keep:
        _keep(target.check, found, CORPUS / options.target)
        return
    arguments += [f"-max_total_time={options.seconds}", "-print_final_stats=1"]
    arguments += [str(found), str(CORPUS / options.target)]

    def one(data: bytes) -> None:
        target.check(data)

    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _keep(check: Callable[[bytes], str], found: Path, corpus: Path) -> None:
    kept = [path.read_bytes() for path in sorted(corpus.iterdir())]
    answers = {check(data) for data in kept}
    for data in sorted((path.read_bytes() for path in found.iterdir()), key=len):
        answer = check(data)
        if answer not in answers and len(kept) < KEPT_COUNT_MAX:
            answers.add(answer)
            kept.append(data)
            (corpus / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    print(f"fuzz {corpus.name}: {len(kept)} inputs in the corpus, {len(answers)} kinds of answers")


def _dictionary(words: tuple[bytes, ...], path: Path) -> Path:
    """The target's words as libFuzzer reads them."""
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in words if len(word) <= 64)
    path.write_text("".join(f'"{line}"\n' for line in lines))
    return path


if __name__ == "__main__":
    main()
