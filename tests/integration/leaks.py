"""Looking for secrets: the spellings of a text, what processes show of themselves, what a Redis is told.

No tests live here.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote, quote_plus

import redis

from adapters.demo import servers

_END = b"the end of what is listened to"
PART = 12
"""Characters: so much of a secret in one piece is a leak as well."""


def spellings(text: str) -> dict[str, bytes]:
    """Return what a secret may look like somewhere, by the name of the spelling."""
    raw = text.encode()
    found = {
        "raw": raw,
        "its beginning": raw[:PART],
        "its end": raw[-PART:],
        "URL": quote(text, safe="").encode(),
        "URL form": quote_plus(text).encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "JSON": json.dumps(text)[1:-1].encode(),
        "repr": repr(text)[1:-1].encode(),
        "shell": shlex.quote(text).encode(),
        "HTML": escape(text).encode(),
        "UTF-16-LE": text.encode("utf-16-le"),
        "UTF-16-BE": text.encode("utf-16-be"),
    }
    for offset in range(3):
        # What surely stands in the base64 of a longer text that holds this one at that offset (RFC 4648).
        encoded = base64.b64encode(b"\0" * offset + raw)
        inner = encoded[-(-offset * 4 // 3) + bool(offset) : len(encoded) - 4]
        found[f"base64+{offset}"] = inner
        found[f"base64url+{offset}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def hits(secrets: Mapping[str, str], haystacks: Mapping[str, bytes]) -> list[str]:
    """Return where a secret stands, never the secret: place, name of the secret, spelling."""
    needles = [(name, kind, needle) for name, text in secrets.items() for kind, needle in spellings(text).items()]
    return [
        f"{place}: {name} ({kind})"
        for place, content in haystacks.items()
        for name, kind, needle in needles
        if needle in content
    ]


def files(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return the content of every file below a folder, and its name, but those that are named."""
    return {
        str(path.relative_to(folder)): str(path).encode() + b"\n" + path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without
    }


class Watch:
    """What every process of this machine shows of itself: arguments and environment, sampled again and again."""

    def __init__(self) -> None:
        self.shown: set[bytes] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample while the block runs."""
        stop = Event()
        thread = Thread(target=self._sample, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _sample(self, stop: Event) -> None:
        while not stop.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with suppress(OSError):  # It ended meanwhile, or is another user's.
                        self.shown.add((process / name).read_bytes())


@dataclass
class Monitor:
    """What a Redis was told by everybody, as MONITOR shows it, and what it took down as slow."""

    told: bytes = b""
    slow: bytes = b""


@contextmanager
def monitored(server: servers.RedisServer) -> Iterator[Monitor]:
    """Listen to a Redis while the block runs; every command counts as slow."""
    seen = Monitor()
    with redis.Redis(host=server.host, port=server.port, password=server.password.reveal()) as client:
        client.config_set("slowlog-max-len", 10_000)
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        connection: Any = client.connection_pool.get_connection()
        connection.send_command("MONITOR")
        connection.read_response()
        thread = Thread(target=_listen, args=(connection, seen))
        thread.start()
        try:
            yield seen
        finally:
            client.echo(_END)
            thread.join()
            connection.disconnect()
            client.config_set("slowlog-log-slower-than", 10_000)
            seen.slow = repr(client.slowlog_get(10_000)).encode()


def _listen(connection: Any, seen: Monitor) -> None:
    while _END not in seen.told:
        with suppress(redis.TimeoutError):  # Nobody told it anything for a while.
            seen.told += connection.read_response() + b"\n"
