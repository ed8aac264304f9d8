"""Which waiting requests are rejected because more comes than can be done.

Those that have waited too long, of whoever has most waiting: of a share that is overloaded itself, or, if its line is
as a whole, of each share that is no smaller than the mean. Of such a share, again of each class that is no smaller than
the mean. So a client that sends little is not rejected for the flood of another, nor a class for that of another."""

from ..request import Request
from .line import WaitingLine
from .overload import OWN_COUNT_MIN, WAIT_SHARE_MAX, Overload
from .share import Share


def look(line: WaitingLine, shares: list[Share], shed: list[Request], count_max: int, now: float) -> bool:
    """Check a line, of which these are the shares, for overload, in which attempts do not count. Appends to `shed`, up
    to `count_max`, what is to be rejected; it waits until the caller ends it. True if `line.is_overloaded` has
    changed."""
    shares = [share for share in shares if not share.is_attempts]
    if not shares:
        return False
    count = 0
    for share in shares:
        count += share.count
    is_over = False
    longest = 0.0
    for share in shares:
        gives_way = line.overload.is_overloaded and share.count * len(shares) >= count
        wait = _shed(share, shed, count_max, now, gives_way=gives_way or share.is_overloaded)
        if share.overload is None:
            if share.count >= OWN_COUNT_MIN:
                share.overload = Overload(is_of_share=True)
                share.overload.look(share.count, wait, now)
        elif share.overload.look(share.count, wait, now):
            line.overload_changed(share, now)
        is_over |= share.is_overloaded
        longest = max(longest, wait)
    line.overload.look(count, longest, now)
    is_over |= line.overload.is_overloaded
    if is_over is line.is_overloaded:
        return False
    line.is_overloaded = is_over
    return True


def _shed(share: Share, shed: list[Request], count_max: int, now: float, *, gives_way: bool) -> float:
    """Append what is to be rejected of `share`. Returns the longest wait of what remains, as a share of its timeout."""
    longest = 0.0
    for line in share.lines():
        has_most = len(line) * share.classes_count >= share.count
        for request in line:
            wait = wait_share(request, now)
            if not (gives_way and has_most) or wait < WAIT_SHARE_MAX or len(shed) >= count_max:
                longest = max(longest, wait)
                break
            shed.append(request)
    return longest


def wait_share(request: Request, now: float) -> float:
    """The share of its timeout that a request has waited, this time."""
    return (now - request.waiting_since) / request.timeout_s
