"""When a client is too slow: decisions on values and a clock. Times are monotonic seconds."""

from coachman.edge.limits import Limits

STALLED_BYTES = 4096  # a client that takes less of its response within the limit does not read it


def is_body_late(now: float, began_at: float, last_byte_at: float, received: int, limits: Limits) -> bool:
    """Whether a request's body has paused for too long, or arrives below the minimum rate."""
    seconds = now - began_at - limits.body_seconds
    is_below_rate = seconds > 0 and received < limits.body_rate * seconds
    return is_below_rate or now - last_byte_at > limits.body_seconds


class WriteProgress:
    """Whether the client reads its response, by how the transport's write buffer changes."""

    __slots__ = ("_since", "_unsent", "has_drained")

    def __init__(self) -> None:
        self._since: float | None = None
        self._unsent = 0
        self.has_drained = False  # the buffer has fallen below the transport's low-water mark

    def is_stalled(self, now: float, unsent: int, seconds: float) -> bool:
        """Whether the client took fewer than STALLED_BYTES of its response in the last `seconds`."""
        if not unsent:
            self._since = None
        elif self._since is None:
            self._since, self._unsent = now, unsent
        elif now - self._since > seconds:
            if not self.has_drained and self._unsent - unsent < STALLED_BYTES:
                return True
            self._since, self._unsent, self.has_drained = now, unsent, False
        return False
