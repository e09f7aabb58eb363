"""Instances that the name system lists as SRV records (RFC 2782).

Rule 1: asks over TCP alone: over UDP an answer is cut to its size, and some servers then give any few of the records.
Rule 2: a name that does not exist is an error, and not a list of nobody; one without records is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from adapters.discovery.listing import check_by_listing, check_template, endpoint, listed
from engine.adapter import DiscoveryAdapter, DiscoveryContext
from engine.errors import PortError, Rejected, Unavailable
from engine.instances import Instance
from engine.ports import Finding
from engine.values import SECOND

if TYPE_CHECKING:
    import dns.resolver

PORT: Final = 53
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9-]{1,63}\.?", re.ASCII)


class DnsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name with SRV records."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    """The whole name, such as `_http._tcp.web.example.com`; no domain is added to it."""
    nameservers: tuple[str, ...] = ()
    """Whom to ask, as `10.0.0.53`, `10.0.0.53:5353` or `[fd00::53]:5353`; those of this machine where none is named."""
    endpoint: str = ""
    """Where an instance is reached, as `http://{address}:{port}`, the address being the name that its record leads \
to; empty where nobody needs to know."""

    def __post_init__(self) -> None:
        check_template(self.endpoint, has_port=True)
        if not _NAME.fullmatch(self.name):
            raise ValueError("`name` is a whole name: labels of letters, digits, - and _, with dots between them")
        for text in self.nameservers:
            _nameserver(text)


class DnsDiscovery:
    """The targets of the SRV records of a name."""

    def __init__(self, options: DnsOptions, context: DiscoveryContext) -> None:
        self._options = options
        self._context = context
        self._what = f"listing the instances of {context.service} by the name {options.name}"

    def instances(self) -> Sequence[Instance]:
        """Return one for each record, called by target and port; raises `Unavailable` or `Rejected`."""
        import dns.exception

        try:
            answer = self._resolver().resolve(
                self._options.name.rstrip(".") + ".",
                "SRV",
                tcp=True,
                raise_on_no_answer=False,
                lifetime=self._context.timeout / SECOND,
            )
        except dns.exception.DNSException as error:
            raise self._failure(error) from None
        return listed(self._of(answer.rrset or ()), what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _of(self, records: Any) -> Iterator[Instance]:
        import dns.name

        for record in records:
            if record.target == dns.name.root:
                continue  # by which a name says that the service is not there (RFC 2782)
            target = record.target.to_text(omit_final_dot=True).lower()
            yield Instance(
                id=f"{target}:{record.port}",
                endpoint=endpoint(self._options.endpoint, address=target, port=record.port, what=self._what),
                labels={"priority": str(record.priority), "weight": str(record.weight)},
            )

    def _resolver(self) -> dns.resolver.Resolver:
        import dns.nameserver
        import dns.resolver

        named = [_nameserver(text) for text in self._options.nameservers]
        resolver = dns.resolver.Resolver(configure=not named)
        if named:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in named]
        resolver.timeout = self._context.timeout / SECOND
        return resolver

    def _failure(self, error: Exception) -> PortError:
        import dns.exception
        import dns.resolver

        match error:
            case dns.resolver.NXDOMAIN():
                return Rejected(what=self._what, why="there is no such name")
            case dns.resolver.NoResolverConfiguration():
                advice = "Name some in `nameservers`."
                return Rejected(what=self._what, why="this machine knows no name servers", advice=advice)
            case dns.exception.Timeout():
                return Unavailable(what=self._what, why="no answer in time")
            case _:
                return Unavailable(what=self._what, why="no name server gave an answer that can be used")


def _nameserver(text: str) -> tuple[str, int]:
    """Return address and port; raises ValueError where they are not written so."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<plain>[0-9.]+))(?::(?P<port>[1-9][0-9]{0,4}))?", text)
    try:
        address = ipaddress.ip_address((found["six"] or found["plain"]) if found else text)
        port = int((found["port"] if found else None) or PORT)
    except ValueError:
        port = 0
    if not 0 < port < 65_536:
        raise ValueError("`nameservers` are addresses: 10.0.0.53, 10.0.0.53:5353 or [fd00::53]:5353")
    return str(address), port


def _build(options: DnsOptions, context: DiscoveryContext) -> DnsDiscovery:
    import dns.resolver  # noqa: F401 - the configuration says which extra brings it

    return DnsDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="dns",
    summary="targets of the SRV records of a name",
    options=DnsOptions,
    build=_build,
    extra="dns",
)
