"""Instances that a service of one's own lists over HTTP, as JSON.

Rule 1: the list leads to addresses that are allowed, and its pages stay at the same host: a login is shown to no other.
Rule 2: what the configuration names in an answer must be there; what it leaves to the defaults may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import urljoin

import msgspec

from adapters import http_auth
from adapters.addresses import ANYWHERE, Resolve, check_server, check_url, networks, system_addresses
from adapters.discovery.listing import check_by_listing, listed
from adapters.discovery.paths import JsonPath, Unfit
from adapters.http_auth import Auth
from engine.adapter import DiscoveryAdapter, DiscoveryContext
from engine.errors import Rejected
from engine.instances import Instance
from engine.ports import Finding

_BYTES_DEFAULT: Final = 10_000_000


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where each member of the list says what; paths from that member, whose `$` it is."""

    id: str = "$.id"
    """Its name, a text or a whole number; `$` where the list holds names alone."""
    zone: str | None = None
    """Its failure domain; `$.zone`, where there is one, when nothing is given."""
    endpoint: str | None = None
    """Where it is reached; `$.endpoint`, where there is one, when nothing is given."""
    labels: str | None = None
    """A mapping of texts, numbers and booleans; `$.labels`, where there are some, when nothing is given."""
    canary: str | None = None
    """`true` where it is to be among the first; `$.canary`, where there is one, when nothing is given."""


class EndpointOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL that lists the instances."""

    url: str
    """What is asked with GET; https, or http to this machine. It has no login in it: give that by `auth`."""
    auth: Auth | None = None
    """How keyturn shows who it is; all secrets are references."""
    instance_path: str = "$.instances[*]"
    """Where the list is in an answer: names, `[0]` and `[*]` of JSONPath. What it names must be there."""
    fields: Fields = Fields()
    """Where each member of the list says what."""
    next_path: str | None = None
    """Where an answer names the URL of the next page; the last page has none, null or an empty text there. A header \
`Link` with `rel="next"` is followed in any case."""
    allow_http: bool = False
    """Also ask in the clear, without TLS."""
    allow_private: tuple[str, ...] = ()
    """Networks inside of the own one that the URL may lead to, such as 10.0.0.0/8; else only public addresses."""
    ca_file: str = ""
    """Certificates (PEM) that are trusted in place of the public ones; relative to the folder of the configuration."""
    max_bytes: Annotated[int, msgspec.Meta(ge=1_000, le=1_000_000_000)] = _BYTES_DEFAULT
    """What all pages may have together."""

    def __post_init__(self) -> None:
        try:
            allow = networks(self.allow_private)
        except ValueError as error:
            raise ValueError(f"`allow_private`: {error}") from None
        try:
            check_server(self.url, allow=allow, allow_http=self.allow_http)
        except ValueError as error:
            raise ValueError(f"`url`: {error}") from None
        _path("instance_path", self.instance_path)
        if self.next_path is not None:
            _path("next_path", self.next_path, is_single=True)
        for name in Fields.__struct_fields__:
            text = getattr(self.fields, name)
            if text is not None:
                _path(f"fields.{name}", text, is_single=True)
        for problem in http_auth.problems(self.auth) if self.auth else ():
            raise ValueError(problem)


class EndpointDiscovery:
    """The instances that a URL lists."""

    def __init__(
        self, options: EndpointOptions, context: DiscoveryContext, *, resolve: Resolve = system_addresses
    ) -> None:
        self._options = options
        self._context = context
        self._allow = networks(options.allow_private)
        self._place = check_server(options.url, allow=self._allow, allow_http=options.allow_http)
        self._what = f"listing the instances of {context.service} at {self._place.host}"
        self._resolve = resolve

    def instances(self) -> Sequence[Instance]:
        """Return what all pages list; raises `Unavailable` or `Rejected`."""
        from adapters.discovery.asking import Asking, trusted

        options, context = self._options, self._context
        headers = {}
        if options.auth is not None:
            headers = dict([http_auth.header(options.auth, context.secret, what=self._what, secrets=[])])
        asking = Asking(
            what=self._what,
            timeout=context.timeout,
            context=trusted(context.base / options.ca_file if options.ca_file else None, what=self._what),
            headers=headers,
            allow=self._allow,
            bytes_max=options.max_bytes,
            resolve=self._resolve,
        )
        found: list[Instance] = []
        seen: set[str] = set()
        url = options.url
        while url:
            if url in seen:
                raise Rejected(what=self._what, why="the pages lead in a circle")
            seen.add(url)
            answer = asking.get(url)
            found += self._page(answer.value)
            url = self._next(answer.value, answer.links.get("next", ""), url)
        return listed(found, what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _page(self, value: Any) -> list[Instance]:
        try:
            return [self._instance(member) for member in JsonPath(self._options.instance_path).all(value)]
        except Unfit as error:
            raise Rejected(what=self._what, why=f"what it answered does not fit: {error}") from None

    def _instance(self, member: Any) -> Instance:
        fields = self._options.fields
        name = _text(JsonPath(fields.id).one(member), "an id")
        canary = _of(member, fields.canary, "$.canary")
        if canary is not None and not isinstance(canary, bool):
            raise Unfit("`canary` is true or false")
        return Instance(
            id=name,
            zone=_text(_of(member, fields.zone, "$.zone"), "a zone"),
            endpoint=_text(_of(member, fields.endpoint, "$.endpoint"), "an endpoint"),
            labels=_labels(_of(member, fields.labels, "$.labels")),
            canary=canary is True,
        )

    def _next(self, value: Any, link: str, url: str) -> str:
        """Return the URL of the next page, empty on the last; raises `Rejected` where it leads to another host."""
        path = self._options.next_path
        try:
            named = _text(JsonPath(path).one_or(value, None) if path is not None else None, "the next page")
            if not (named or link):
                return ""
            following = urljoin(url, named or link)
            place = check_url(following, allow_http=True, allow=ANYWHERE)
        except ValueError as error:
            raise Rejected(what=self._what, why=f"the next page: {error}") from None
        if place != self._place:
            raise Rejected(what=self._what, why="the next page is at another host, which is shown no login")
        return following


def _path(name: str, text: str, *, is_single: bool = False) -> None:
    try:
        path = JsonPath(text)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None
    if is_single and not path.is_single:
        raise ValueError(f"`{name}` names one value, and so has no [*]")


def _of(member: Any, path: str | None, default: str) -> Any:
    """Return what a path names, which must be there; by the default one, None where there is nothing."""
    if path is not None:
        return JsonPath(path).one(member)
    return JsonPath(default).one_or(member, None) if isinstance(member, dict) else None


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit(f"{name} is a text or a whole number")
    return str(value)


def _labels(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unfit("labels are a mapping")
    return {name: _label(each) for name, each in value.items()}


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value, "a label")


def _build(options: EndpointOptions, context: DiscoveryContext) -> EndpointDiscovery:
    return EndpointDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="endpoint",
    summary="instances that a URL lists as JSON",
    options=EndpointOptions,
    build=_build,
)
