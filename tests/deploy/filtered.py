"""Runs a program as systemd does under SystemCallFilter= with SystemCallErrorNumber=EPERM: any system call that is not
allowed fails.

python filtered.py FILE PROGRAM ARGUMENT...      FILE: the names of those allowed, one per line

It uses libseccomp's four calls, see seccomp_init(3) and seccomp_rule_add(3).
"""

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

LIBRARY: Final = "libseccomp.so.2"
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
UNKNOWN: Final = -1
"""The result for a name that this machine's libseccomp does not know."""


def main(names_path: str, program: str, *arguments: str) -> None:
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    for name in Path(names_path).read_text().split():
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != UNKNOWN:
            library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0)
    if library.seccomp_load(context) != 0:
        sys.exit("the kernel accepts no filter")
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
