"""What tests of stores share: processes that write at once, and a disk that is full."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def forked(work: Callable[[], None]) -> int:
    """Start a process that does `work` and ends; return its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def all_ended_well(children: Sequence[int]) -> bool:
    """Wait for all, and tell whether each did its work."""
    return [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Have the kernel refuse to let any file of this process grow beyond `size` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
