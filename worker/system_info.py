"""What the standard library says about the machine and the process that a worker runs in."""

import os
import platform
import socket
import time
from pathlib import Path
from typing import Any, Final

_BEGAN_AT: Final = time.monotonic()
_MEMINFO: Final = Path("/proc/meminfo")


def system_info() -> dict[str, Any]:
    """Plain values. What the platform does not provide is null: `load_average` (1, 5, 15 minutes),
    `memory_total_bytes`, `memory_available_bytes`. `uptime_s` is that of this process since it became a worker."""
    total, available = _memory_bytes()
    return {
        "hostname": socket.gethostname(),
        "platform": platform.platform(),
        "python_version": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "memory_total_bytes": total,
        "memory_available_bytes": available,
        "pid": os.getpid(),
        "uptime_s": round(time.monotonic() - _BEGAN_AT, 3),
    }


def _memory_bytes() -> tuple[int | None, int | None]:
    """Total and available memory: from Linux's /proc, else the total from POSIX sysconf, else neither."""
    try:
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return _kib(fields["MemTotal"]), _kib(fields["MemAvailable"])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (AttributeError, OSError, ValueError):
        return None, None


def _kib(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024
