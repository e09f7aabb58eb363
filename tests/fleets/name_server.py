"""A name server for tests: SRV records of one zone, over TCP whole, and over UDP no more than one. No tests live here.

That is how some servers answer over UDP where the answer would be too large, without saying that there is more.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tests.contract.discovery import Trouble

ZONE: Final = "test."


class NameServer:
    """Answers for the zone `test.`; `records` are texts of SRV records by their name."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.asked: list[str] = []
        """Over what was asked, for what."""
        self._orders: deque[Trouble | None] = deque()
        self._is_stopped = threading.Event()
        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self, _Tcp))
        self.port: int = self._tcp.server_address[1]
        self._udp = socketserver.ThreadingUDPServer(("127.0.0.1", self.port), _handler(self, _Udp))
        self._servers: tuple[socketserver.BaseServer, ...] = (self._tcp, self._udp)
        self._threads = [threading.Thread(target=each.serve_forever, args=(0.01,)) for each in self._servers]
        for thread in self._threads:
            thread.start()

    def order(self, *troubles: Trouble | None) -> None:
        """Have the next questions meet these, one each."""
        self._orders.extend(troubles)

    def stop(self) -> None:
        """End it."""
        self._is_stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def answer(self, wire: bytes, *, over: str) -> tuple[bytes | None, bool]:
        """Return the answer, if there is one, and whether it is sent whole."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text()
        self.asked.append(f"{over} {name}")
        trouble = self._orders.popleft() if self._orders else None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if trouble is Trouble.FAILURE:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not name.endswith(ZONE):
            response.set_rcode(dns.rcode.REFUSED)
        elif name not in self.records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif texts := self.records[name][: 1 if over == "UDP" else None]:
            response.answer.append(dns.rrset.from_text(name, 30, "IN", "SRV", *texts))
        match trouble:
            case Trouble.SILENCE:
                self._is_stopped.wait()
                return None, False
            case Trouble.CUT:
                return None, False
            case Trouble.NONSENSE:
                return b"<html>come in</html>", True
        return response.to_wire(), trouble is not Trouble.HALF


def _handler(server: NameServer, kind: type[Any]) -> type[Any]:
    return type("Conversation", (kind,), {"names": server})


class _Tcp(socketserver.StreamRequestHandler):
    names: NameServer

    def handle(self) -> None:
        (length,) = struct.unpack("!H", self.rfile.read(2))
        answer, is_whole = self.names.answer(self.rfile.read(length), over="TCP")
        if answer is not None:
            self.wfile.write(struct.pack("!H", len(answer)) + (answer if is_whole else answer[: len(answer) // 2]))


class _Udp(socketserver.DatagramRequestHandler):
    names: NameServer

    def handle(self) -> None:
        answer, _ = self.names.answer(self.rfile.read(), over="UDP")
        if answer is not None:
            self.wfile.write(answer)


@contextmanager
def name_server() -> Iterator[NameServer]:
    """Serve for the length of the block."""
    server = NameServer()
    try:
        yield server
    finally:
        server.stop()
