"""Ending a look in time: a timeout of a driver begins anew with each byte, or does not begin at all.

Rule: only the line is cut; what that means is said by whoever asked over it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_off(descriptor: int, limit: float) -> Iterator[None]:
    """Break the connection of a descriptor after so many seconds, if the block is still at work then."""
    with socket.socket(fileno=os.dup(descriptor)) as line:

        def cut() -> None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(limit, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
