"""Ending the demo early: Ctrl-C, SIGTERM and SIGHUP, each once, and none of them lost.

Rule: standard library only, and little of it: it is in place before anything heavy is imported.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], bool]]:
    """Let the first of these signals raise `KeyboardInterrupt` in the block, and no further one disturb its end.

    Yields what tells whether one came: an exception that is raised while a library written in C calls back into
    Python may be dropped there, so it is asked now and then as well.
    """
    came = False

    def end(number: int, frame: object) -> None:
        nonlocal came
        came = True
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, end) for each in _ENDING}
    try:
        yield lambda: came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
