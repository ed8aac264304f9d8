"""Asks a broker's HTTP port for some paths, one after the other, until it is ended: `polling.py URL PATH...`. Prints
`N answers` after every tenth."""

import itertools
import sys
import urllib.request

PATH = __file__


def main(url: str, *paths: str) -> None:
    for count, path in enumerate(itertools.cycle(paths), 1):
        with urllib.request.urlopen(url + path, timeout=20) as answer:
            answer.read()
        if not count % 10:
            sys.stdout.write(f"{count} answers\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
