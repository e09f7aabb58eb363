"""Mail servers that do not keep to the protocol, and people on the way to them: what is told of a mail stays true."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from adapters.notifiers.mail_notifier import EmailNotifier
from engine.errors import PortError, Rejected, SinkGone, Unavailable, Uncertain
from tests.integration.notifiers.mail_bench import notifier, send
from tests.sinks.certificates import LOCAL, Authority
from tests.sinks.mail import HOST, mail_server


@contextmanager
def scripted(*answers: bytes) -> Iterator[int]:
    """Run a server that gives these answers, one for each line or mail; nothing after the last, or the end at b''."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            is_mail = False
            for answer in answers:
                if not answer:
                    return
                connection.sendall(answer)
                is_mail = answer.startswith(b"354")
                while (line := lines.readline()) and is_mail and line != b".\r\n":
                    pass
            over.wait(10)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


BEGUN = (b"220 here\r\n", b"250 here\r\n", b"250 ok\r\n", b"250 ok\r\n")


def hasty(port: int) -> EmailNotifier:
    """Return a channel that does not wait long."""
    return notifier(port, smtp={"tls": "none-i-accept", "timeout": "100ms", "helo": "localhost"})


@pytest.mark.slow
@pytest.mark.parametrize("said", range(len(BEGUN) + 1))
def test_silence_before_the_end_of_the_mail_is_unavailable(said: int) -> None:
    """At the greeting, to EHLO, MAIL, RCPT, DATA: nothing can have been taken."""
    began = time.monotonic()
    with scripted(*BEGUN[:said]) as port, pytest.raises(Unavailable, match="timed out"):
        send(hasty(port))
    assert time.monotonic() - began < 5, "it waited the 10 s that are the default"


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ((b"554 no service here\r\n", b""), Unavailable),
        ((b"nonsense\r\n", b""), Unavailable),
        ((b"220 here\r\n", b"550 bad name\r\n", b"550 bad name\r\n", b""), Unavailable),
        ((*BEGUN, b"nonsense\r\n", b""), Unavailable),
        ((*BEGUN, b""), Unavailable),
        ((*BEGUN, b"354 go\r\n", b"nonsense\r\n", b""), Uncertain),
        ((*BEGUN, b"354 go\r\n", b"250" + b"x" * 10_000 + b"\r\n", b""), Uncertain),
        ((*BEGUN, b"354 go\r\n", b""), Uncertain),
    ],
    ids=["554", "greeting", "helo", "data", "end before", "answer", "endless answer", "end after"],
)
def test_what_is_no_smtp_is_judged_by_how_far_it_came(answers: tuple[bytes, ...], kind: type[PortError]) -> None:
    with scripted(*answers) as port, pytest.raises(PortError) as caught:
        send(notifier(port, smtp={"tls": "none-i-accept", "helo": "localhost"}))
    assert type(caught.value) is kind


def test_silence_after_the_whole_mail_is_uncertain() -> None:
    with scripted(*BEGUN, b"354 go\r\n") as port, pytest.raises(Uncertain, match="timed out"):
        send(hasty(port))


def test_an_answer_cannot_write_into_a_log() -> None:
    """Control characters and endless lines of a server are not passed on."""
    with (
        scripted(*BEGUN[:2], b"550-\x1b[31m" + "\u202e".encode() + b"\r\n550 " + b"x" * 500 + b"\r\n", b"") as port,
        pytest.raises(Rejected) as caught,
    ):
        send(notifier(port, smtp={"tls": "none-i-accept", "helo": "localhost"}))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_tls_is_not_begun_with_a_server_in_the_clear() -> None:
    with mail_server() as sink, pytest.raises(Unavailable):
        send(notifier(sink, smtp={"tls": "implicit"}))
    assert sink.sessions == []


def test_what_was_offered_before_tls_counts_for_nothing(signing: Authority) -> None:
    """A mechanism that somebody put in before TLS began is not used: the server is asked again behind it."""
    signed = signing.context(LOCAL)
    with (
        mail_server(starttls=signed, username="x", password="canary-other", without=("PLAIN", "LOGIN")) as sink,
        injecting(sink.port, b"250-AUTH PLAIN LOGIN\r\n") as port,
        pytest.raises(SinkGone, match="offers no login"),
    ):
        send(notifier(port, ca_file=str(signing.file), has_login=True))


@contextmanager
def injecting(port: int, line: bytes) -> Iterator[int]:
    """Run a proxy that puts a line in front of the last of the answer to EHLO."""

    def copy(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
        try:
            while found := source.recv(65_536):
                target.sendall(change(found))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def put_in(found: bytes) -> bytes:
        first, end, rest = found.partition(b"\r\n")
        return first + end + line + rest if first.startswith(b"250-") else found

    with socket.create_server((HOST, 0)) as listener, socket.create_connection((HOST, port)) as server:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                upwards = threading.Thread(target=copy, args=(client, server, bytes))
                upwards.start()
                copy(server, client, put_in)
                upwards.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        with suppress(OSError):  # both ends may be closed already
            server.shutdown(socket.SHUT_RDWR)
        thread.join()
