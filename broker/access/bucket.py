"""A token bucket: how much may pass in a second, and how much at once after a pause.

Source: RFC 2215, TOKEN_BUCKET_TSPEC: tokens arrive at rate r up to a depth b; what passes takes its size
in tokens. Something larger than the depth passes a full bucket and leaves a debt, as otherwise it could never pass.
"""


class Bucket:
    """`rate` tokens a second, of which at most `burst_s` seconds' worth are kept. A rate of 0 bounds nothing. Starts
    full. All times are seconds of one monotonic clock."""

    __slots__ = ("_at", "_tokens", "burst_s", "rate")

    def __init__(self, rate: float, burst_s: float) -> None:
        self.rate = rate
        self.burst_s = burst_s
        self._tokens = rate * burst_s
        self._at = 0.0

    def wait_s(self, size: float, now: float) -> float:
        """Seconds until `size` may pass, 0.0 for now. Takes nothing."""
        if not self.rate:
            return 0.0
        depth = self.rate * self.burst_s
        if now > self._at:
            self._tokens = min(depth, self._tokens + (now - self._at) * self.rate)
            self._at = now
        missing = min(size, depth) - self._tokens
        return missing / self.rate if missing > 0.0 else 0.0

    def take(self, size: float) -> None:
        """Take `size` tokens, without a check: see `wait_s`, which also adds those that are due."""
        self._tokens -= size

    def spend(self, size: float, now: float) -> float:
        """Take `size` tokens if there are enough: 0.0. Else takes nothing: the seconds until there are."""
        wait_s = self.wait_s(size, now)
        if not wait_s:
            self._tokens -= size
        return wait_s

    def reconfigure(self, rate: float, now: float) -> None:
        """Change the rate. What has been used stays used: the bucket lacks as many seconds' worth as it did."""
        self.wait_s(0.0, now)
        missing_s = self.burst_s - self._tokens / self.rate if self.rate else 0.0
        self.rate = rate
        self._tokens = rate * (self.burst_s - missing_s)
        self._at = now
