"""An AWS for tests: moto, behind a server that fails as ordered and knows one login. No tests live here."""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import boto3
import httpx
from moto.server import ThreadedMotoServer

from tests.sinks.vendor_server import Reply, Request, VendorServer, serving

REGION: Final = "eu-central-1"
_LOGIN: Final = re.compile(r"Credential=([^/]+)/[0-9]{8}/([a-z0-9-]+)/(ec2|ecs|autoscaling)/aws4_request")
_HOP: Final = {"connection", "content-length", "host", "transfer-encoding", "date", "server"}
_REFUSED: Final = {
    "ec2": b"<Response><Errors><Error><Code>AuthFailure</Code><Message>canary</Message></Error></Errors></Response>",
    "ecs": b'{"__type": "UnrecognizedClientException", "message": "canary"}',
    "autoscaling": b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code></Error></ErrorResponse>",
}


class Amazon:
    """What there is in one account, and who may see it."""

    def __init__(self, moto: str, login: str, onward: httpx.Client) -> None:
        self.moto = moto
        self.onward = onward
        self.login = login
        """The access key id that is let in."""

    def client(self, service: str) -> Any:
        """Return a client that makes things."""
        return _maker(self.moto, service)

    def answer(self, request: Request) -> Reply:
        """Hand a request on to moto, where it is signed by who is let in."""
        found = _LOGIN.search(request.headers.get("authorization", ""))
        if found is None or found[2] != REGION:
            return Reply(400, b"<Response><Errors><Error><Code>InvalidRegion</Code></Error></Errors></Response>")
        if found[1] != self.login:
            return Reply(401, _REFUSED[found[3]])
        headers = {name: text for name, text in request.headers.items() if name not in _HOP}
        got = self.onward.request(request.method, f"{self.moto}{request.path}", content=request.body, headers=headers)
        passed = {name: text for name, text in got.headers.items() if name.lower() not in _HOP}
        return Reply(got.status_code, got.content, passed)


@cache
def _maker(moto: str, service: str) -> Any:
    login = {"aws_access_key_id": "maker", "aws_secret_access_key": "maker"}
    return boto3.client(service, region_name=REGION, endpoint_url=moto, **login)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto for the length of the block, and return its URL."""
    # The images that AWS offers take moto half a second to make, whenever it begins anew.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    log = logging.getLogger("werkzeug")
    before, log.level = log.level, logging.ERROR
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        log.level = before


@contextmanager
def amazon(moto: str, *, login: str) -> Iterator[tuple[Amazon, VendorServer]]:
    """Serve an empty account for the length of the block."""
    with httpx.Client(transport=httpx.HTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))) as onward:
        onward.post(f"{moto}/moto-api/reset")
        # Otherwise a task comes nearer to its end with each look at it.
        still = {"model_name": "ecs::task", "transition": {"progression": "manual", "times": 1_000}}
        onward.post(f"{moto}/moto-api/state-manager/set-transition", json=still)
        found = Amazon(moto, login, onward)
        with serving(found.answer) as server:
            yield found, server
