"""Which addresses a request may go to: none inside of the own network, unless the configuration lists it.

Rule 1: a host is judged by every address that it has, and a request goes to an address that was judged.
Rule 2: when in doubt it is refused: a spelling that others may read differently, a resolver that fails.
Rule 3: pure, but for `system_addresses`; no text here has more of a URL than its host.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from engine.errors import Rejected, Unavailable

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""Return the addresses of a host, as text; raises OSError or ValueError where there is no answer."""

ANYWHERE: Final[tuple[Network, ...]] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
"""For servers that the configuration names and that belong inside of the own network. It still leads to no metadata of
clouds."""
PORTS: Final = {"https": 443, "http": 80}
HOST_LENGTH_MAX: Final = 253
"""RFC 1035, 2.3.4, without the root."""

_URL: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#\\]*)(?P<rest>[/?][!-~]*)?", re.ASCII)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>[1-9][0-9]{0,4}))?", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_HERE: Final = frozenset({"127.0.0.1", "::1"})
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)
"""A last label of this form makes resolvers read the whole host as an IPv4 address (WHATWG URL, "ends in a number")."""
_NOT_IN_A_TARGET: Final = frozenset('"<>\\^`{|}#')
"""What RFC 3986 has in no path and no query, and the fragment, which is never sent."""

_CARRIERS: Final = (
    (ipaddress.ip_network("::ffff:0:0/96"), 0),  # IPv4-mapped (RFC 4291, 2.5.5.2)
    (ipaddress.ip_network("::ffff:0:0:0/96"), 0),  # IPv4-translated (RFC 2765, 2.1)
    (ipaddress.ip_network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052, 2.1)
    (ipaddress.ip_network("2002::/16"), 80),  # 6to4 (RFC 3056, 2)
    (ipaddress.ip_network("::/96"), 0),  # IPv4-compatible (RFC 4291, 2.5.5.1)
)
"""IPv6 networks whose addresses carry an IPv4 address, and how many bits stand behind it."""
_NOT_CARRIED: Final = frozenset({IPv6Address("::"), IPv6Address("::1")})

_NEVER: Final[tuple[Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # this host (RFC 1122, 3.2.1.3): Linux connects to itself
            "::/128",
            "224.0.0.0/4",  # multicast
            "ff00::/8",
            "255.255.255.255/32",
            "2001::/32",  # Teredo (RFC 4380): it carries the addresses of two others
            "169.254.169.254/32",  # the metadata of AWS, Azure, Google Cloud and others: it hands out credentials
            "169.254.170.2/32",  # the credentials of tasks of AWS ECS
            "169.254.170.23/32",  # the credentials of pods of AWS EKS
            "fd00:ec2::254/128",
            "fd00:ec2::23/128",
            "100.100.100.200/32",  # the metadata of Alibaba Cloud
            "192.0.0.192/32",  # the metadata of Oracle Cloud
            "168.63.129.16/32",  # the platform of Azure, at an address that looks public
        ),
    )
)
"""What no list allows."""

_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # IETF protocol assignments (RFC 6890, 2.2.2), which Python 3.11 takes in part for global
            "192.88.99.0/24",  # relays of 6to4 (RFC 7526, 4)
            "2001::/23",  # IETF protocol assignments, of which later versions take some for global
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
"""What `is_global` of one version of Python or another calls global, and is not."""
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""Global unicast as IANA gives it out; whatever is outside of it (fc00::/7, fe80::/10, fec0::/10, 64:ff9b:1::/48) is
for somebody's own use, or reserved."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL leads: scheme, host (an IPv6 address without brackets) and port."""

    scheme: str
    host: str
    port: int


def check_url(url: str, *, allow_http: bool = False, allow: Sequence[Network] = ()) -> Endpoint:
    """Return where a URL leads; raises ValueError, saying what is wrong without repeating the URL.

    Only one spelling is taken: `https://host[:port][/path][?query]`, in visible ASCII, the host a name or a canonical
    address. An address is judged at once; a name when it is resolved (`checked_addresses`).
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(
            "a URL is visible ASCII; write other characters as %xx, and a name in another alphabet as xn--…"
        )
    found = _URL.fullmatch(url)
    if found is None or _NOT_IN_A_TARGET & set(found["rest"] or ""):
        raise ValueError('a URL is written https://host/path, and has no fragment and none of " < > \\ ^ ` { | }')
    if found["scheme"] == "http" and not allow_http:
        raise ValueError("the URL must begin with https://; `allow_http: true` sends in the clear")
    authority = found["authority"]
    if "@" in authority:
        raise ValueError("a URL with a user name or a password in it is refused; give them as a reference to a secret")
    parts = _AUTHORITY.fullmatch(authority)
    port = int(parts["port"] or PORTS[found["scheme"]]) if parts else 0
    if parts is None or not 0 < port < 65_536:
        raise ValueError("behind the host of the URL only a port is expected: 1 to 65535, without zeros in front")
    return Endpoint(found["scheme"], _checked_host(parts["host"], allow), port)


def check_server(url: str, *, allow: Sequence[Network] = ANYWHERE, allow_http: bool = False) -> Endpoint:
    """Return where a URL leads; raises ValueError where that is refused, or where it would show a login to the network.

    It is https, or http to this machine; where `allow_http`, http to any.
    """
    place = check_url(url, allow_http=True, allow=allow)
    if place.host not in _HERE:
        check_url(url, allow_http=allow_http, allow=allow)
    return place


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks of their CIDR texts; raises ValueError, saying which of them is none, or can allow nothing."""
    found: list[Network] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is no network; write it as 10.0.0.0/8 or fd00::/8, without bits of hosts"
            ) from None
        if unwrapped(network.network_address) != network.network_address:
            raise ValueError(f"{text!r} carries IPv4 addresses: list the IPv4 network that they stand for")
        found.append(network)
    return tuple(found)


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address carries, else the address itself."""
    if isinstance(address, IPv6Address) and address not in _NOT_CARRIED:
        for network, behind in _CARRIERS:
            if address in network:
                return IPv4Address(int(address) >> behind & 0xFFFF_FFFF)
    return address


def is_allowed(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Tell whether a request may go to an address: a public one, or one of a listed network.

    An address that carries another is judged by that one, and so needs its network in the list.
    """
    inner = unwrapped(address)
    if any(inner in network for network in _NEVER):
        return False
    return _is_public(inner) or any(inner in network for network in allow)


def checked_addresses(
    host: str, port: int, *, allow: Sequence[Network] = (), resolve: Resolve | None = None, what: str
) -> tuple[str, ...]:
    """Return the addresses of a host, all of which may be connected to, in the order of the resolver, each once.

    The resolver is asked once; an address is not resolved. Raises `Rejected` where one of them is refused, and
    `Unavailable` where there is none.
    """
    literal = _literal(host)
    try:
        texts = [host] if literal is not None else list((resolve or system_addresses)(host, port))
        found = [ipaddress.ip_address(text) for text in texts]
    except (OSError, ValueError):
        raise Unavailable(what=what, why=f"the name {host} cannot be resolved") from None
    if not found:
        raise Unavailable(what=what, why=f"the name {host} has no address")
    for address in found:
        if not is_allowed(address, allow):
            raise Rejected(what=what, why=f"{host} leads to {_told(address)}", advice=_ADVICE)
    return tuple(dict.fromkeys(map(str, found)))


def system_addresses(host: str, port: int) -> list[str]:
    """Return the addresses that the resolver of the system has for a host; raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


_ADVICE: Final = "Where it is meant to be there, list its network in `allow_private`."


def _is_public(address: Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and (address.version == 4 or address in _PUBLIC_IPV6)


def _told(address: Address) -> str:
    inner = unwrapped(address)
    carried = "" if inner == address else f", which stands for {inner}"
    return f"{address}{carried}, an address that is not public"


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _checked_host(host: str, allow: Sequence[Network]) -> str:
    """Return the host without brackets; raises ValueError for one that is not written in the one way."""
    is_bracketed = host.startswith("[")
    bare = host[1:-1] if is_bracketed else host
    literal = _literal(bare)
    is_numeric = _NUMBER.fullmatch(bare.rpartition(".")[2]) is not None
    if is_bracketed or literal is not None or is_numeric:
        if literal is None or str(literal) != bare.lower() or (literal.version == 6) != is_bracketed or "%" in bare:
            raise ValueError("an address is written in its canonical form: 192.0.2.1, or [2001:db8::1] in brackets")
        if not is_allowed(literal, allow):
            raise ValueError(f"the URL leads to {_told(literal)}. {_ADVICE}".removesuffix("."))
        return bare.lower()
    labels = bare.split(".")
    if len(bare) > HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host of the URL is a name of letters, digits, hyphens and dots, without a dot at its end")
    if labels[-1].lower() == "localhost":
        raise ValueError("`localhost` is refused: write 127.0.0.1 or [::1], and list it in `allow_private`")
    return bare.lower()
