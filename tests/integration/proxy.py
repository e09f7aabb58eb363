"""A network that misbehaves as planned: a TCP proxy on 127.0.0.1 between keyturn and a server. No tests live here.

Rule 1: what is planned is data, and what happened is written down, so that a test sees that its fault took place.
Rule 2: a request is what a client sends in one go. Both drivers send one and wait for its answer, on connections
that are not encrypted, so that words can be found in it.
Rule 3: nothing outlives `running`: a wait ends when the proxy is stopped.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

HOST: Final = "127.0.0.1"
_ANSWER_SECONDS_MAX: Final = 10.0
"""How long the answer to a request that a rule is about is waited for."""
_BYTES: Final = 1 << 16


class Fate(StrEnum):
    """What becomes of a request, or of the network from that request on."""

    PASS = "it was passed on"
    LOSE_REQUEST = "it was lost, and its connection with it"
    LOSE_ANSWER = "the server carried it out, and its answer was lost, and the connection with it"
    HOLD_REQUEST = "it was held back, and delivered later whoever still waited for it"
    HOLD_ANSWER = "the server carried it out, and its answer was held back"
    TWICE = "it was delivered twice, one copy behind the other; the first answer was passed on"
    SILENCE = "from it on, nothing that was sent arrived any more"
    REFUSE = "from it on, every connection was cut, and new ones were refused"


@dataclass
class Rule:
    """The `nth` request (from 1, counted from when the rule is set) with `word` in it meets this fate.

    `seconds` is how long something is held back, or a network is away (0: until `clear`). `then` is called before the
    request is passed on, or where the server carries it out at once, when it has.
    """

    word: bytes
    fate: Fate
    nth: int
    seconds: float
    then: Callable[[], None]
    seen: int = 0


class Happened(NamedTuple):
    """A rule that came true: the word, and what became of the request."""

    word: bytes
    fate: Fate


class Proxy:
    """Stands in front of a server on 127.0.0.1 at `port`; what it is not told to do otherwise goes through."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self.happened: list[Happened] = []
        self.connections = 0
        """How many were made."""
        self.on_answer: Callable[[bytes], bytes] = lambda answer: answer
        """What becomes of what a server sends, where no rule is about it."""
        self._rules: list[Rule] = []
        self._lock = threading.Condition()
        self._is_silent = threading.Event()
        self._is_refusing = threading.Event()
        self._is_stopped = threading.Event()
        self._held = 0
        self._threads: list[threading.Thread] = []
        self._ends: set[socket.socket] = set()
        self._listen()

    # --- what a test says ---------------------------------------------------------------------------------

    def plan(
        self, word: bytes, fate: Fate, *, nth: int = 1, seconds: float = 0.0, then: Callable[[], None] = lambda: None
    ) -> None:
        """Set a rule (`Rule`); a request meets the first one that it fits."""
        with self._lock:
            self._rules.append(Rule(word, fate, nth, seconds, then))

    def silence(self) -> None:
        """Have everything that is sent vanish: a black hole."""
        self._is_silent.set()

    def refuse(self) -> None:
        """Cut every connection, and refuse new ones."""
        self._is_refusing.set()
        with suppress(OSError):
            # A thread that waits in accept() is woken by a shutdown, not by a close.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection; new ones are welcome."""
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            _hang_up(end)

    def clear(self) -> None:
        """Have the network work again; connections that lived through a silence stay dead."""
        if self._is_silent.is_set():
            self.cut()
            self._is_silent.clear()
        if self._is_refusing.is_set() and not self._is_stopped.is_set():
            self._is_refusing.clear()
            self._listener = socket.create_server((HOST, self.port))
            self._listen()

    def wait(self) -> None:
        """Wait until every request that was held back has been delivered."""
        with self._lock:
            assert self._lock.wait_for(lambda: not self._held, _ANSWER_SECONDS_MAX), "something is held back for ever"

    def stop(self) -> None:
        """End every connection and every thread."""
        self._is_stopped.set()
        self.refuse()
        for thread in self._threads:
            thread.join(_ANSWER_SECONDS_MAX)
            assert not thread.is_alive(), "a thread of the proxy does not end"

    # --- inside -------------------------------------------------------------------------------------------

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        listener = self._listener

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    self.connections += 1
                    self._start(partial(self._serve, client))

        self._start(accept)

    def _serve(self, client: socket.socket) -> None:
        """Carry one connection from its beginning to its end."""
        with suppress(OSError), client, socket.create_connection((HOST, self._server_port)) as server:
            with self._lock:
                self._ends |= {client, server}
            try:
                self._carry(client, server)
            finally:
                with self._lock:
                    self._ends -= {client, server}

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        while not self._is_refusing.is_set():
            ready, _, _ = select.select([client, server], [], [])
            for end in ready:
                sent = end.recv(_BYTES)
                if not sent:
                    return
                rule = self._fitting(sent) if end is client else None
                if rule is not None:
                    self._meet(rule, sent, client, server)
                elif self._is_silent.is_set():
                    continue
                elif end is client:
                    server.sendall(sent)
                else:
                    client.sendall(self.on_answer(sent))

    def _fitting(self, request: bytes) -> Rule | None:
        """Return the rule that a request meets; each that it fits counts it."""
        with self._lock:
            fitting = [rule for rule in self._rules if rule.word in request]
            for rule in fitting:
                rule.seen += 1
            met = next((rule for rule in fitting if rule.seen == rule.nth), None)
            if met is not None:
                self.happened.append(Happened(met.word, met.fate))
            return met

    def _meet(self, rule: Rule, request: bytes, client: socket.socket, server: socket.socket) -> None:
        match rule.fate:
            case Fate.PASS:
                rule.then()
                server.sendall(request)
            case Fate.LOSE_REQUEST:
                rule.then()
                raise ConnectionAbortedError
            case Fate.LOSE_ANSWER:
                _answer(server, request)
                rule.then()
                raise ConnectionAbortedError
            case Fate.HOLD_REQUEST:
                with self._hold():
                    rule.then()
                    self._is_stopped.wait(rule.seconds)
                    answer = _answer(server, request)
                client.sendall(answer)
            case Fate.HOLD_ANSWER:
                answer = _answer(server, request)
                rule.then()
                self._is_stopped.wait(rule.seconds)
                client.sendall(answer)
            case Fate.TWICE:
                answer = _answer(server, request)
                _answer(server, request)
                rule.then()
                client.sendall(answer)
            case Fate.SILENCE | Fate.REFUSE:
                (self.silence if rule.fate is Fate.SILENCE else self.refuse)()
                rule.then()
                if rule.seconds:
                    self._start(partial(self._clear_after, rule.seconds))

    @contextmanager
    def _hold(self) -> Iterator[None]:
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                self._lock.notify_all()

    def _clear_after(self, seconds: float) -> None:
        if not self._is_stopped.wait(seconds):
            self.clear()


def _answer(server: socket.socket, request: bytes) -> bytes:
    """Have the server carry a request out, and return what it answers; nothing where it hung up instead."""
    server.settimeout(_ANSWER_SECONDS_MAX)
    server.sendall(request)
    answer = server.recv(_BYTES)
    server.settimeout(None)
    return answer


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def running(server_port: int) -> Iterator[Proxy]:
    """Run a proxy for the length of the block."""
    proxy = Proxy(server_port)
    try:
        yield proxy
    finally:
        proxy.stop()
