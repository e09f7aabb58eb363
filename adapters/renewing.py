"""Renewing the leases of a process: one thread for all that it holds, however many and for however long.

Rule 1: what was removed is not renewed any more when `remove` returns, so that its file can be closed.
Rule 2: the thread ends when it looks around and nothing is held; holding for a moment, time and again, costs no thread
each time. A process that forked off has none, and begins its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from threading import Condition, Lock, Thread


class Renewal:
    """What is done every `seconds` until it is removed. It must not raise."""

    def __init__(self, seconds: float, renew: Callable[[], None]) -> None:
        self.seconds = seconds
        self.next = time.monotonic() + seconds
        self._renew = renew
        self._turn = Lock()
        self._is_over = False

    def do(self) -> None:
        """Do it, unless it is over."""
        with self._turn:
            if not self._is_over:
                self._renew()
                self.next = time.monotonic() + self.seconds

    def end(self) -> None:
        """Have it over; waits for one that is being done."""
        with self._turn:
            self._is_over = True


class Renewer:
    """The renewals of one process, and the thread that does them."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what is held, the thread and the locks: in a process that forked off they are those of the other."""
        self._condition = Condition()
        self._renewals: set[Renewal] = set()
        self._wakes: float | None = None
        """When the thread looks around next; None while there is no thread."""

    def add(self, seconds: float, renew: Callable[[], None]) -> Renewal:
        """Have something done every so many seconds from now on, in another thread."""
        renewal = Renewal(seconds, renew)
        with self._condition:
            self._renewals.add(renewal)
            if self._wakes is None:
                self._wakes = renewal.next
                Thread(target=self._run, name="leases", daemon=True).start()
            elif renewal.next < self._wakes:
                self._condition.notify_all()
        return renewal

    def remove(self, renewal: Renewal) -> None:
        """Have it done no more; what is being done is waited for."""
        if sys.is_finalizing():
            return  # The thread was ended where it was, perhaps with a lock that nobody opens any more.
        with self._condition:
            self._renewals.discard(renewal)
        renewal.end()

    def _run(self) -> None:
        while due := self._due():
            for each in due:
                each.do()

    def _due(self) -> list[Renewal]:
        """Wait until something is to be done, and return it; nothing where nothing is held any more."""
        with self._condition:
            while self._renewals:
                now = time.monotonic()
                due = [each for each in self._renewals if each.next <= now]
                if due:
                    return due
                self._wakes = min(each.next for each in self._renewals)
                self._condition.wait(self._wakes - now)
            self._wakes = None
            return []


RENEWER = Renewer()
"""That of this process."""

os.register_at_fork(after_in_child=RENEWER.begin_anew)
