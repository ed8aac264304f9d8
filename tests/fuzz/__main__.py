"""`python -m tests.fuzz TARGET`: damaged inputs for the C that reads untrusted bytes, for some seconds.

Knows targets, the clock and files; how inputs are made is mutation.py's. Each target compares the C with something that
says the same, so a wrong answer fails; under `make sanitize` and `make fuzz` a wrong access of memory ends the process.
The last input is in `.cache/fuzz/TARGET`, whatever happened; `--replay FILE` runs one again.
"""

import argparse
import mmap
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.fuzz.mutation import SIZE_BYTES_MAX, Mutator

TARGETS: Final = ("json", "transcode", "frames", "ports")
CORPUS: Final = Path(__file__).parent / "corpus"
LAST: Final = Path(__file__).parents[2] / ".cache" / "fuzz"
LOOK_INTERVAL: Final = 100
"""Inputs between two looks at the clock."""


class LastInput:
    """The input at work, in a file that the kernel keeps when this process is ended."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w+b")
        self._file.truncate(SIZE_BYTES_MAX)
        self._map = mmap.mmap(self._file.fileno(), SIZE_BYTES_MAX)
        self._size = SIZE_BYTES_MAX

    def is_now(self, data: bytes) -> None:
        if len(data) != self._size:
            self._map.resize(len(data) or 1)
            self._size = len(data)
        self._map[: len(data)] = data


def main() -> int:
    """Returns 0, or 1 at the first input that is answered differently; its file is named then."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--replay", type=Path, help="run this input alone")
    options = parser.parse_args()
    target = import_module(f"tests.fuzz.{options.target}_target")
    check: Callable[[bytes], str] = target.check
    if options.replay is not None:
        print(check(options.replay.read_bytes()))
        return 0
    seeds = [path.read_bytes() for path in sorted((CORPUS / options.target).iterdir())]
    mutator = Mutator(seeds, target.WORDS, options.seed)
    path = LAST / options.target
    last = LastInput(path)
    answers: set[str] = set()
    count = 0
    give_up_at = time.monotonic() + options.seconds
    try:
        for data in seeds:
            last.is_now(data)
            answers.add(check(data))
        while time.monotonic() < give_up_at:
            for _ in range(LOOK_INTERVAL):
                data = mutator.draw()
                last.is_now(data)
                answer = check(data)
                count += 1
                if answer not in answers:
                    answers.add(answer)
                    mutator.keep(data)
    except Exception:
        print(f"fuzz {options.target}: input {count} of seed {options.seed} is in {path}", file=sys.stderr)
        raise
    print(f"fuzz {options.target}: {count:,} inputs, {len(answers)} kinds of answers, seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
