"""A webhook as tests make it, with secrets that are canaries. No tests live here."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from adapters.addresses import Resolve, system_addresses
from adapters.http_auth import Auth
from adapters.notifiers.webhook import Webhook
from adapters.notifiers.webhook_options import Retry, WebhookOptions
from engine.adapter import NotifierContext, Reference
from engine.values import Secret

KEY = "bus-1a2b3c/0000000000000000042"
SIGNING = "whsec_" + base64.b64encode(b"canary-signing-one-of-32-bytes-x").decode()
PREVIOUS = "whsec_" + base64.b64encode(b"canary-signing-two-of-32-bytes-x").decode()

SECRETS = {
    "TOKEN": "canary-token",
    "USER": "canary-user",
    "PASSWORD": "canary-pass/word",
    "SIGNING": SIGNING,
    "PREVIOUS": PREVIOUS,
    "LINES": "canary-a\r\nX-Injected: canary-b",
    "PLAIN": "canary-plain-and-not-a-signing-secret",
}


def reference(name: str) -> Reference:
    """Return a reference to one of `SECRETS`."""
    return Reference("env", name)


def secret(given: Reference) -> Secret:
    """Return one of `SECRETS`."""
    return Secret(SECRETS[given.location])


def webhook(
    url: str = "https://hooks.example/hook",
    *,
    base: Path = Path(),
    resolve: Resolve = system_addresses,
    now: Callable[[], float] | None = None,
    **options: Any,
) -> Webhook:
    """Return a webhook of production/db with these options."""
    context = NotifierContext(name="bus", service="db", environment="production", base=base, secret=secret)
    clock = {} if now is None else {"now": now}
    return Webhook(WebhookOptions(url=url, **options), context, resolve=resolve, **clock)


def bearer() -> Auth:
    """Return how a token is given."""
    return Auth(type="bearer", token=reference("TOKEN"))


def retry(**given: Any) -> Retry:
    """Return a retry with these options, as the configuration would make it."""
    return msgspec.structs.replace(Retry(), **given)
