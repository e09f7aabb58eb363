"""The options of the channel `webhook`, and what may be wrong with them.

Rule: nothing here uses the network or reads a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from adapters import http_auth
from adapters.addresses import check_url, networks
from adapters.http_auth import Auth
from adapters.notifiers import webhook_templates as templates
from adapters.templates import TemplateFault
from engine.adapter import Duration, Reference
from engine.values import SECOND

_TIMEOUT_MAX: Final = Duration(60 * SECOND)
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:; ?[a-z]+=[A-Za-z0-9._-]+)*", re.ASCII)
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "private-token"}
)
"""Headers whose value is a secret, so that none may stand in the configuration."""


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often a message is tried in a row before the channel rests."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    """How many tries, the first one counted."""
    backoff: Literal["exponential", "fixed"] = "exponential"
    """`exponential` doubles the delay with each try."""
    initial: Duration = Duration(SECOND)
    """The delay before the second try."""
    max: Duration = Duration(300 * SECOND)
    """The longest delay, and the longest `Retry-After` that is kept to."""


class WebhookOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of the channel `webhook`."""

    url: str
    """Where to; https, without user name and password. It is no secret: give those by `auth`."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[str, str] = {}
    """Further headers; their values are templates. `{{ Token }}` is the secret of `auth.token`, and stands alone."""
    auth: Auth | None = None
    signing_secret: Reference | None = None
    """Signs each message (Standard Webhooks): `whsec_` and the base64 of 24 to 64 bytes."""
    previous_signing_secret: Reference | None = None
    """While the signing secret is replaced: messages have a signature of each, the one of `signing_secret` first."""
    format: Literal["cloudevents", "dsops"] = "cloudevents"
    """`cloudevents` is CloudEvents 1.0 in JSON, `dsops` the flat body that dsops documents."""
    payload_template: str = ""
    """A template of the whole body, in place of `format`."""
    content_type: str = ""
    """By default application/cloudevents+json, and application/json for `dsops` and templates."""
    timeout: Duration = Duration(10 * SECOND)
    """For one try as a whole, from resolving the name to the answer; at most 60s."""
    retry: Retry = Retry()
    """How often a message is tried in a row."""
    allow_http: bool = False
    """Also send in the clear, without TLS."""
    allow_private: tuple[str, ...] = ()
    """Networks inside of the own one that the webhook may lead to, such as 10.0.0.0/8; else only public addresses."""
    ca_file: str = ""
    """Certificates (PEM) that are trusted in place of the public ones; relative to the folder of the configuration."""


def is_json(content_type: str) -> bool:
    """Tell whether a media type says that a body is JSON (RFC 6839)."""
    subtype = content_type.partition(";")[0].strip().lower().partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def problems_of(options: WebhookOptions, base: Path) -> Iterator[str]:
    """Yield what is wrong with the options, but for what only rendering shows; a sentence each."""
    try:
        allow = networks(options.allow_private)
    except ValueError as error:
        yield f"`allow_private`: {error}"
        allow = ()
    try:
        check_url(options.url, allow_http=options.allow_http, allow=allow)
    except ValueError as error:
        yield f"`url`: {error}"
    yield from _problems_of_headers(options)
    yield from _problems_of_auth(options)
    if options.previous_signing_secret is not None and options.signing_secret is None:
        yield "`previous_signing_secret` is for replacing a `signing_secret`, which is missing"
    if options.content_type and not _MEDIA_TYPE.fullmatch(options.content_type):
        yield "`content_type` is written type/subtype"
    elif options.content_type and not options.payload_template and not is_json(options.content_type):
        yield f"`content_type`: the format {options.format} is JSON; another type needs a `payload_template`"
    if not 0 < options.timeout.microseconds <= _TIMEOUT_MAX.microseconds:
        yield f"`timeout` is more than 0 and at most {_TIMEOUT_MAX}"
    if options.retry.max.microseconds < options.retry.initial.microseconds:
        yield "`retry`: `max` is shorter than `initial`"
    if options.ca_file and not (base / options.ca_file).is_file():
        yield f"`ca_file`: there is no file {options.ca_file}"


def _problems_of_headers(options: WebhookOptions) -> Iterator[str]:
    seen: set[str] = set()
    for name, text in options.headers.items():
        if name.lower() in seen:
            yield f"`headers`: {name} is there twice"
        seen.add(name.lower())
        try:
            made = templates.header(name, text)
        except TemplateFault as fault:
            yield f"`headers.{name}`: {fault.message} {fault.hint}".strip()
        else:
            if name.lower() in _SECRET_HEADERS and not templates.names_token(made):
                yield f"`headers.{name}`: its value is a secret; give it as a reference, by `auth`"
            elif templates.names_token(made) and (options.auth is None or options.auth.token is None):
                yield f"`headers.{name}`: `{templates.GO_TOKEN}` is the secret of `auth.token`, which is missing"


def _problems_of_auth(options: WebhookOptions) -> Iterator[str]:
    auth = options.auth
    if auth is None:
        return
    yield from http_auth.problems(auth)
    if auth.header and auth.header.lower() in {name.lower() for name in options.headers}:
        yield f"`headers`: {auth.header} is the header that `auth` sends its secret in"
