"""Webhooks: a signed request over HTTPS to an address that may be anywhere, but not inside of the own network.

Rule 1: what is sent is rendered before, but for the time of the try, the signatures over it, and secrets in headers.
Rule 2: one try a call; what an answer means stands in http_answers.py, where a request may go in addresses.py.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from adapters import http_answers, http_auth, signing
from adapters.addresses import Resolve, check_url, networks, system_addresses
from adapters.notifiers import webhook_bodies as bodies
from adapters.notifiers import webhook_templates as templates
from adapters.notifiers.webhook_options import WebhookOptions, is_json, problems_of
from adapters.templates import Template, TemplateFault
from engine.adapter import NotifierAdapter, NotifierContext
from engine.errors import PortError, Rejected, SinkGone
from engine.notices import Notice
from engine.notifier import Outgoing, Pace
from engine.values import Instant
from projections.notifications.documents import document
from projections.notifications.samples import samples

if TYPE_CHECKING:
    import httpx

ANSWER_BYTES_MAX: Final = 4_096
"""How much of an answer is read: enough for the reason of a refusal."""
_SAID_MAX: Final = 200
_PER_SECOND: Final = 10.0
_KEY: Final = "00000000-0000-4000-8000-000000000000"
"""The key of the samples that a template is tried with."""
_DELIVERY: Final = "webhook-delivery"
"""What a receiver may answer besides a status: `disable`, or `abort-message` (docs.svix.com, delivery control)."""


_LONG_WORD: Final = re.compile(r"[A-Za-z0-9+/=_.~-]{20,}")
"""What a token looks like, in an answer that is shown."""
_END: Final = re.compile(r"\S*\Z")


class UnfitPayload(ValueError):
    """What a template makes cannot be sent; says why, without repeating it."""


class Webhook:
    """One receiver of webhooks."""

    def __init__(
        self,
        options: WebhookOptions,
        context: NotifierContext,
        *,
        resolve: Resolve = system_addresses,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._context = context
        self._what = f"notifying {context.name}"
        self._resolve = resolve
        self._now = now

    @property
    def pace(self) -> Pace:
        """Ten a second, a choice: a receiver that can bear less answers 429. Retries as they are configured."""
        retry = self._options.retry
        return Pace(
            per_second=_PER_SECOND,
            burst=int(_PER_SECOND),
            attempts=retry.max_attempts,
            first=retry.initial.microseconds,
            longest=retry.max.microseconds,
            is_exponential=retry.backoff == "exponential",
        )

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Everything that is selected can be told."""
        return selected

    def validate(self) -> Sequence[str]:
        """Return what is wrong with the options; templates are tried with a sample of every kind, and a digest."""
        problems = list(problems_of(self._options, self._context.base))
        if self._options.payload_template and not problems:
            context = self._context
            tried = samples(service=context.service, environment=context.environment, at=Instant(0))
            for notices in [*([notice] for notice in tried), tried]:
                try:
                    self._body(notices, identifier=_KEY, dropped=0)
                except TemplateFault as fault:
                    return [f"`payload_template`: {fault.message} {fault.hint}".strip()]
                except UnfitPayload as error:
                    shown = notices[0].kind.value if len(notices) == 1 else "digest"
                    return [f"`payload_template`: of a message {shown}, {error}"]
        return problems

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return the body, and as `further` the headers that a notice fills, as JSON."""
        try:
            content = self._body(notices, identifier=signing.identifier(key), dropped=dropped)
            headers = self._filled_headers(notices, dropped=dropped)
        except TemplateFault as fault:
            raise Rejected(what=self._what, why=fault.message, advice=fault.hint) from None
        except UnfitPayload as error:
            raise Rejected(what=self._what, why=str(error)) from None
        return Outgoing(
            content=content,
            content_type=self._content_type,
            further=(bodies.encoded(headers),) if headers else (),
            readable=tuple(text for notice in notices for text in bodies.texts(document(notice))),
        )

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Send it once, to an address that was judged; return nothing, as a receiver names no message."""
        import httpx

        options = self._options
        secrets: list[str] = []
        headers = self._headers(outgoing, key, secrets)
        try:
            with (
                self._client() as client,
                client.stream(options.method, options.url, content=outgoing.content, headers=headers) as got,
            ):
                answered = {name.lower(): value for name, value in got.headers.items()}
                status, said = got.status_code, "" if got.is_success else _said(_read(got.iter_raw()), secrets)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # The error of the library may hold a header, so it goes no further.
            raise http_answers.failure(error, what=self._what) from None
        refused = self._refusal(status, answered, said)
        if refused is not None:
            raise refused
        return ""

    # --- what is rendered -----------------------------------------------------------------------------------

    @property
    def _content_type(self) -> str:
        default = bodies.JSON_TYPE
        if self._options.format == "cloudevents" and not self._options.payload_template:
            default = bodies.CLOUDEVENTS_TYPE
        return self._options.content_type or default

    @cached_property
    def _payload(self) -> Template:
        return templates.payload(self._options.payload_template, in_json=is_json(self._content_type))

    @cached_property
    def _header_templates(self) -> Mapping[str, Template]:
        return {name: templates.header(name, text) for name, text in self._options.headers.items()}

    def _body(self, notices: Sequence[Notice], *, identifier: str, dropped: int) -> bytes:
        if self._options.payload_template:
            return self._filled(notices, dropped=dropped)
        if self._options.format == "dsops":
            return bodies.dsops_body(notices, dropped=dropped)
        return bodies.cloudevent(notices, identifier=identifier, dropped=dropped)

    def _filled(self, notices: Sequence[Notice], *, dropped: int) -> bytes:
        template, in_json = self._payload, is_json(self._content_type)

        def made(kept: Sequence[Notice], longest: int) -> bytes | None:
            values = templates.values(notices, kept, dropped=dropped, longest=longest, in_json=in_json)
            filled = template.filled(values, what=self._what)
            return None if filled is None else filled.reveal().encode("utf-8", "replace")

        body = bodies.fitted(made, notices)
        if body is None:
            raise UnfitPayload("the template makes more than 20 kB")
        if in_json:
            _check_json(body)
        return body

    def _filled_headers(self, notices: Sequence[Notice], *, dropped: int) -> dict[str, str]:
        longest = templates.HEADER_LENGTH_MAX
        filled = {name: made for name, made in self._header_templates.items() if not templates.names_token(made)}
        if not filled:
            return {}
        values = templates.values(notices, notices, dropped=dropped, longest=longest, in_json=False)
        return {
            name: templates.header_value(made.render(values, what=self._what).reveal()) for name, made in filled.items()
        }

    # --- what is sent ---------------------------------------------------------------------------------------

    def _client(self) -> httpx.Client:
        """Return a client that goes where the options let it; raises `Rejected` where they let it nowhere."""
        from adapters import guarded_http

        options = self._options
        try:
            allow = networks(options.allow_private)
            check_url(options.url, allow_http=options.allow_http, allow=allow)
        except ValueError as error:
            raise Rejected(what=self._what, why=str(error)) from None
        ca_file = str(self._context.base / options.ca_file) if options.ca_file else ""
        timeout = options.timeout.microseconds
        try:
            return guarded_http.client(
                what=self._what, timeout=timeout, allow=allow, ca_file=ca_file, resolve=self._resolve
            )
        except OSError:
            raise Rejected(what=self._what, why="`ca_file` cannot be read, or holds no certificates") from None

    def _headers(self, outgoing: Outgoing, key: str, secrets: list[str]) -> dict[str, str]:
        """Return all headers; every secret that stands in one of them is put into `secrets`."""
        name, moment = signing.identifier(key), int(self._now())
        filled = json.loads(outgoing.further[0]) if outgoing.further else {}
        headers = {
            "user-agent": "keyturn",
            "accept-encoding": "identity",
            **{header.lower(): value for header, value in filled.items()},
            **{header.lower(): value for header, value in self._secret_headers(secrets).items()},
            "content-type": outgoing.content_type,
            "idempotency-key": name,
            "webhook-id": name,
            "webhook-timestamp": str(moment),
        }
        references = (self._options.signing_secret, self._options.previous_signing_secret)
        keys = [
            signing.key_of(self._context.secret(reference), what=self._what) for reference in references if reference
        ]
        if keys:
            headers["webhook-signature"] = signing.signatures(
                keys, identifier=name, timestamp=moment, content=outgoing.content
            )
        return headers

    def _secret_headers(self, secrets: list[str]) -> dict[str, str]:
        auth = self._options.auth
        if auth is None:
            return {}
        placed = {name: made for name, made in self._header_templates.items() if templates.names_token(made)}
        if not placed or auth.token is None:
            return dict([http_auth.header(auth, self._context.secret, what=self._what, secrets=secrets)])
        token = http_auth.visible(auth.token, self._context.secret, what=self._what, secrets=secrets)
        return {
            name: made.render({templates.TOKEN: token}, what=self._what).reveal().strip()
            for name, made in placed.items()
        }

    def _refusal(self, status: int, headers: Mapping[str, str], said: str) -> PortError | None:
        refused = http_answers.refusal(status, headers, what=self._what, said=said)
        if refused is not None and headers.get(_DELIVERY) == "disable":
            return SinkGone(what=self._what, why=f"{refused.why} and asked to be sent nothing any more")
        if refused is not None and headers.get(_DELIVERY) == "abort-message":
            return Rejected(what=self._what, why=f"{refused.why} and asked not to be sent this again")
        return refused


def _check_json(body: bytes) -> None:
    try:
        json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        hint = "texts stand in quotes, and `|tojson` brings its own"
        raise UnfitPayload(f"the template makes no JSON ({hint})") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read(chunks: Iterable[bytes]) -> bytes:
    """Return the first `ANSWER_BYTES_MAX` bytes, reading no further; less where the connection ends before."""
    import httpx

    body = b""
    try:
        for chunk in chunks:
            body += chunk
            if len(body) >= ANSWER_BYTES_MAX:
                break
    except httpx.TransportError:
        pass  # the status was there before, and decides
    return body[:ANSWER_BYTES_MAX]


def _said(body: bytes, secrets: Sequence[str]) -> str:
    """Return the beginning of an answer on one line, without the secrets that were sent, nor anything like a token."""
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)):
            text = text.replace(spelling, "***")
    if len(body) == ANSWER_BYTES_MAX:
        text = _END.sub("", text)  # what was cut in the middle may be the beginning of a secret
    text = " ".join("".join(c if c.isprintable() else " " for c in _LONG_WORD.sub("***", text)).split())
    return text if len(text) <= _SAID_MAX else text[: _SAID_MAX - 1] + "…"


def _build(options: WebhookOptions, context: NotifierContext) -> Webhook:
    return Webhook(options, context)


def _sink(options: WebhookOptions) -> str:
    """Name a receiver by its URL, which is no secret: those of several services are one."""
    return f"webhook {options.url}"


ADAPTER: Final = NotifierAdapter(
    name="webhook",
    summary="A signed request over HTTPS: CloudEvents, the body of dsops, or a template",
    options=WebhookOptions,
    build=_build,
    sink=_sink,
)
