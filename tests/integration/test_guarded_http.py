"""A request over the guarded transport: it reaches the address that was judged, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.addresses import Resolve, networks
from adapters.guarded_http import client
from engine.errors import Rejected, Unavailable
from engine.values import SECOND, Microseconds
from tests.sinks.webhook import Answer, Fault, Receiver, certified, counted, receiving

HERE = networks(["127.0.0.0/8"])
NAME = "hooks.example"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        found.order(*[Answer(200, body=b"taken")] * 4)
        yield found


def posted(
    url: str, resolve: Resolve, *, seconds: float = 5.0, allow: bool = True, ca_file: str = ""
) -> httpx.Response:
    """Post to a URL through the guard, which lets requests reach this machine."""
    timeout = Microseconds(round(seconds * SECOND))
    guarded = client(what="posting", timeout=timeout, allow=HERE if allow else (), ca_file=ca_file, resolve=resolve)
    with guarded:
        return guarded.post(url, content=b"{}")


def test_a_request_goes_to_the_address_with_the_name_as_its_host(receiver: Receiver) -> None:
    resolve, asked = counted(["127.0.0.1"])
    answer = posted(f"http://{NAME}:{receiver.port}/hook?a=b", resolve)
    assert (answer.status_code, answer.content) == (200, b"taken")
    assert asked == [NAME]
    got = receiver.received[0]
    assert (got.path, got.headers["host"]) == ("/hook?a=b", f"{NAME}:{receiver.port}")


def test_an_address_that_the_list_does_not_have_is_never_connected_to(receiver: Receiver) -> None:
    resolve, _ = counted(["127.0.0.1"])
    with pytest.raises(Rejected, match="not public"):
        posted(f"http://{NAME}:{receiver.port}/", resolve, allow=False)
    with pytest.raises(Rejected, match="not public"):
        posted(f"http://127.0.0.1:{receiver.port}/", resolve, allow=False)
    assert receiver.received == []


def test_a_name_that_is_bound_anew_gains_nothing(receiver: Receiver) -> None:
    """The resolver is asked once: what it would say the second time is an address that is refused."""
    resolve, asked = counted(["127.0.0.1"], ["169.254.169.254"])
    assert posted(f"http://{NAME}:{receiver.port}/", resolve).status_code == 200
    assert asked == [NAME]
    with pytest.raises(Rejected, match=r"169\.254\.169\.254"):
        posted(f"http://{NAME}:{receiver.port}/", resolve)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["http://169.254.169.254/latest/meta-data", "/elsewhere"])
def test_a_redirect_is_an_answer_like_others(receiver: Receiver, status: int, to: str) -> None:
    with receiving() as other:
        other.order(Answer(status, {"Location": to}))
        resolve, asked = counted(["127.0.0.1"])
        assert posted(f"http://{NAME}:{other.port}/", resolve).status_code == status
        assert len(other.received) == 1
        assert asked == [NAME]


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        resolve, _ = counted(["127.0.0.1"])
        assert posted(f"http://{NAME}:{receiver.port}/", resolve).status_code == 200
        assert proxy.received == []


def test_where_one_address_does_not_answer_the_next_is_tried(receiver: Receiver) -> None:
    resolve, _ = counted(["127.0.0.2", "127.0.0.1"])
    assert posted(f"http://{NAME}:{receiver.port}/", resolve).status_code == 200
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError):
            posted(f"http://{NAME}:{closed.getsockname()[1]}/", resolve)


def test_tls_is_for_the_name_although_the_connection_is_to_the_address(tmp_path: Path) -> None:
    """SNI and the certificate are those of the name; no resolver but ours knows it."""
    context, trusted = certified(tmp_path, NAME)
    resolve, _ = counted(["127.0.0.1"])
    with receiving(context=context) as receiver:
        receiver.order(Answer(200))
        assert posted(f"https://{NAME}:{receiver.port}/", resolve, ca_file=trusted).status_code == 200
        assert receiver.names == [NAME]
        assert receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


@pytest.mark.parametrize("certificate", ["elsewhere.example", "127.0.0.1"])
def test_a_certificate_for_another_name_is_not_spoken_to(tmp_path: Path, certificate: str) -> None:
    """Not even one for the address that is connected to."""
    context, trusted = certified(tmp_path, certificate)
    resolve, _ = counted(["127.0.0.1"])
    with receiving(context=context) as receiver:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            posted(f"https://{NAME}:{receiver.port}/", resolve, ca_file=trusted)
        assert receiver.received == []


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(tmp_path: Path) -> None:
    context, _ = certified(tmp_path, NAME)
    resolve, _ = counted(["127.0.0.1"])
    with receiving(context=context) as receiver, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        posted(f"https://{NAME}:{receiver.port}/", resolve)


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.DRIP])
def test_the_timeout_is_for_the_request_as_a_whole(receiver: Receiver, fault: Fault) -> None:
    """A byte now and then keeps nobody waiting for longer."""
    with receiving() as slow:
        slow.order(fault)
        resolve, _ = counted(["127.0.0.1"])
        begun = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            posted(f"http://{NAME}:{slow.port}/", resolve, seconds=0.15)
        assert 0.1 < time.monotonic() - begun < 1.0


def test_a_resolver_that_hangs_is_left_behind() -> None:
    def resolve(host: str, port: int) -> list[str]:
        time.sleep(1.0)
        return ["127.0.0.1"]

    begun = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        posted(f"http://{NAME}:1/", resolve, seconds=0.1)
    assert time.monotonic() - begun < 0.8
