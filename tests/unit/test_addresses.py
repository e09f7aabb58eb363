"""Where a request may go: every trick to get inside of the own network is refused, and every listed network works."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.addresses import (
    Endpoint,
    check_server,
    check_url,
    checked_addresses,
    is_allowed,
    networks,
    system_addresses,
    unwrapped,
)
from engine.errors import Rejected, Unavailable
from tests.sinks.webhook import counted

PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.100",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "64:ff9b:1:a00::8.8.8.8",
    "2002:a00:1::1",
    "2002:7f00:1::",
    "2002:c0a8:1::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "5f00::1",
    "4000::1",
]
"""Addresses for somebody's own use, reserved, or carrying such a one. A list can allow them."""

FORBIDDEN = [
    "0.0.0.0",  # noqa: S104 - it is refused
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "ff02::1",
    "ff0e::1",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "192.0.0.192",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "2001::1",
]
"""What no list allows: everybody at once, nobody, and what hands out credentials."""

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]

SPELLINGS = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.256",
    "1.2.3.4.5",
    "hooks.example.0x1",
    "hooks.example.1",
    "[::ffff:127.0.0.1%25lo]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[fe80::1%lo]",
    "[::1",
    "::1",
    "[127.0.0.1]",
    "[hooks.example]",
    "localhost",
    "LOCALHOST",
    "foo.localhost",
    "localhost.",
    "hooks.example.",
    "hooks..example",
    ".hooks.example",
    "-hooks.example",
    "hooks.example-",
    "%6c%6f%63alhost",
    "hooks%2eexample",
    "hooks_example%00.evil.example",
    "\uff11\uff12\uff17.0.0.1",  # full-width digits
    "127\u30020\u30020\u30021",  # ideographic full stops
    "\u2488\u2488\u2488\u2488",  # "1." as one character
    "\u0661\u0662\u0667.0.0.1",  # Arabic digits
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",  # letters in circles
    "h\u00f6oks.example",
    "ho oks.example",
    "hooks.example\t",
    "hooks.example\n",
    "",
    "a" * 64 + ".example",
    ".".join(["abcdefgh"] * 29),
]
"""Hosts that are written so that one reader takes them for another than the next."""

SHAPES = [
    "ftp://hooks.example/",
    "file:///etc/passwd",
    "gopher://hooks.example/",
    "HTTPS://hooks.example/",
    "https:/hooks.example/",
    "https:hooks.example",
    "//hooks.example/",
    "hooks.example",
    "",
    "https://",
    "https:///path",
    "https://user@hooks.example/",
    "https://user:canary@hooks.example/",
    "https://hooks.example:443@10.0.0.1/",
    "https://10.0.0.1\\@hooks.example/",
    "https://hooks.example\\.evil.example/",
    "https://hooks.example#@10.0.0.1/",
    "https://hooks.example/#fragment",
    "https://hooks.example/a b",
    "https://hooks.example/\r\nHost: evil",
    "https://hooks.example/\u00e9",
    "https://hooks.example/<script>",
    "https://hooks.example:0/",
    "https://hooks.example:65536/",
    "https://hooks.example:0443/",
    "https://hooks.example:/",
    "https://hooks.example:8a/",
    "https://hooks.example:443:443/",
    " https://hooks.example/",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_public_needs_its_network_in_the_list(text: str) -> None:
    """Its own, or that of the address which it carries; another network does not help."""
    address = ip_address(text)
    inner = unwrapped(address)
    own = networks([f"{str(inner).partition('%')[0]}/{inner.max_prefixlen}"])
    assert not is_allowed(address)
    assert not is_allowed(address, networks(["11.0.0.0/8", "fd99::/64"]))
    assert is_allowed(address, own)


@pytest.mark.parametrize("text", FORBIDDEN)
def test_some_addresses_are_allowed_by_no_list(text: str) -> None:
    everything = networks(["0.0.0.0/0", "::/0"])
    assert not is_allowed(ip_address(text))
    assert not is_allowed(ip_address(text), everything)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed(text: str) -> None:
    assert is_allowed(ip_address(text))


@given(st.integers(0, 2**32 - 1))
def test_an_address_that_is_carried_is_judged_as_it_is(number: int) -> None:
    """Mapped, translated, compatible, NAT64 and 6to4: the same verdict, with a list and without."""
    allow = networks(["10.0.0.0/8"])
    plain = ip_address(number)
    carrying = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0xFFFF << 48 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
    ]
    if number > 1:
        carrying.append(IPv6Address(number))
    for each in carrying:
        assert unwrapped(each) == plain
        assert is_allowed(each) == is_allowed(plain)
        assert is_allowed(each, allow) == is_allowed(plain, allow)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.168.1.1/32", "fd00::/8", "::1/128"])
def test_a_network_is_listed_in_cidr(text: str) -> None:
    assert [str(network) for network in networks([text])] == [text]


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/33", "private", "", "10.*", "::ffff:10.0.0.0/104", "2002::/16"]
)
def test_a_network_that_is_none_or_allows_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no network|carries IPv4"):
        networks([text])


@pytest.mark.parametrize("host", SPELLINGS)
@pytest.mark.parametrize("allow", [(), networks(["0.0.0.0/0", "::/0"])], ids=["nothing", "everything"])
def test_a_host_with_two_readings_is_refused_whatever_is_listed(host: str, allow: tuple[()]) -> None:
    with pytest.raises(ValueError):
        check_url(f"https://{host}/", allow=allow)


@pytest.mark.parametrize("url", SHAPES)
def test_a_url_with_two_readings_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_url(url, allow_http=True)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://hooks.example", Endpoint("https", "hooks.example", 443)),
        ("https://Hooks.Example/a/b?c=d&e=%20", Endpoint("https", "hooks.example", 443)),
        ("https://hooks.example:8443?x", Endpoint("https", "hooks.example", 8443)),
        ("https://xn--hks-sna.example/@/", Endpoint("https", "xn--hks-sna.example", 443)),
        ("https://1.1.1.1/", Endpoint("https", "1.1.1.1", 443)),
        ("https://[2606:4700:4700::1111]:444/", Endpoint("https", "2606:4700:4700::1111", 444)),
        ("https://host_1/", Endpoint("https", "host_1", 443)),
        ("https://0x.example/", Endpoint("https", "0x.example", 443)),
    ],
)
def test_a_plain_url_tells_where_it_leads(url: str, endpoint: Endpoint) -> None:
    assert check_url(url) == endpoint


def test_http_is_sent_only_where_it_is_allowed() -> None:
    with pytest.raises(ValueError, match="allow_http"):
        check_url("http://hooks.example/")
    assert check_url("http://hooks.example/", allow_http=True) == Endpoint("http", "hooks.example", 80)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("192.168.1.5", "192.168.1.0/24"),
        ("100.64.1.1", "100.64.0.0/10"),
        ("[fd12::5]", "fd00::/8"),
        ("[::1]", "::1/128"),
    ],
)
def test_an_address_of_the_own_network_is_reached_through_the_list_alone(host: str, network: str) -> None:
    url = f"https://{host}/hook"
    with pytest.raises(ValueError, match="allow_private"):
        check_url(url)
    with pytest.raises(ValueError, match="allow_private"):
        check_url(url, allow=networks(["172.16.0.0/12"]))
    bare = check_url(url, allow=networks([network])).host
    assert checked_addresses(bare, 443, allow=networks([network]), what="") == (bare,)
    with pytest.raises(Rejected):
        checked_addresses(bare, 443, what="")


@pytest.mark.parametrize("text", [*PRIVATE, *FORBIDDEN])
def test_a_name_is_refused_when_one_of_its_addresses_is(text: str) -> None:
    """The good ones before and behind it do not help."""
    resolve, asked = counted(["1.1.1.1", text, "8.8.8.8"])
    with pytest.raises(Rejected, match="not public"):
        checked_addresses("hooks.example", 443, resolve=resolve, what="notifying bus")
    assert asked == ["hooks.example"]


def test_a_name_is_asked_for_once_and_its_addresses_keep_their_order() -> None:
    resolve, asked = counted(["8.8.8.8", "1.1.1.1", "8.8.8.8"])
    assert checked_addresses("hooks.example", 443, resolve=resolve, what="") == ("8.8.8.8", "1.1.1.1")
    assert asked == ["hooks.example"]


def test_an_address_is_not_asked_for() -> None:
    resolve, asked = counted([])
    assert checked_addresses("1.1.1.1", 443, resolve=resolve, what="") == ("1.1.1.1",)
    assert asked == []


@pytest.mark.parametrize("error", [socket.gaierror(-2, "canary"), OSError("canary"), UnicodeError("canary")])
def test_a_resolver_that_fails_lets_nothing_through(error: Exception) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(Unavailable, match="cannot be resolved") as raised:
        checked_addresses("hooks.example", 443, resolve=resolve, what="")
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("answer", [[], ["not an address"], ["1.1.1.1", ""]])
def test_an_answer_without_addresses_lets_nothing_through(answer: list[str]) -> None:
    resolve, _ = counted(answer)
    with pytest.raises(Unavailable):
        checked_addresses("hooks.example", 443, resolve=resolve, what="")


def test_the_resolver_of_the_system_is_asked() -> None:
    """It reads an address without asking anybody."""
    assert system_addresses("127.0.0.1", 443) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "url", ["https://consul.internal:8501", "https://10.0.0.5", "http://127.0.0.1:8500", "http://[::1]:8500"]
)
def test_a_server_of_the_own_network_is_asked_over_tls_or_on_this_machine(url: str) -> None:
    assert check_server(url).scheme == url.partition(":")[0]


@pytest.mark.parametrize(
    "url",
    ["http://consul.internal:8500", "http://10.0.0.5", "http://127.0.0.2", "https://169.254.169.254", "https://x@y.z"],
)
def test_no_server_is_shown_a_login_in_the_clear_nor_is_the_metadata_of_a_cloud_one(url: str) -> None:
    with pytest.raises(ValueError):
        check_server(url)
    if url.startswith("http://"):
        assert check_server(url, allow_http=True).scheme == "http"
