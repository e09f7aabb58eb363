"""What every listing ends with: each instance once, under a name that can be one; and what a person is told of it.

Rule: knows no system; an adapter brings what it found, all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from multiprocessing import TimeoutError as TimeIsOver
from multiprocessing.pool import ThreadPool
from typing import Final, TypeVar

from adapters.addresses import check_server
from engine.errors import PortError, Rejected, Unavailable
from engine.instances import INSTANCE_ID_MAX, Discovery, Instance
from engine.ports import Finding, Severity
from engine.values import SECOND, Microseconds

T = TypeVar("T")


SUBJECT: Final = "discovery"


def listed(found: Iterable[Instance], *, what: str) -> tuple[Instance, ...]:
    """Return the instances in the order of their ids; raises `Rejected` where two share one, or one is no id.

    An id has 1 to 253 visible characters: it stands in paths of stores and in tables.
    """
    by_id: dict[str, Instance] = {}
    for each in found:
        if not 0 < len(each.id) <= INSTANCE_ID_MAX or not each.id.isprintable() or any(map(str.isspace, each.id)):
            raise Rejected(what=what, why=f"an id has 1 to {INSTANCE_ID_MAX} visible characters, and no spaces")
        if each.id in by_id:
            raise Rejected(what=what, why=f"two instances are called {each.id!r}")
        by_id[each.id] = each
    return tuple(by_id[name] for name in sorted(by_id))


def check_by_listing(discovery: Discovery) -> Sequence[Finding]:
    """List once, and say for `keyturn doctor` what came of it."""
    try:
        found = discovery.instances()
    except PortError as error:
        return (Finding(SUBJECT, Severity.FAIL, error.message, error.advice),)
    if not found:
        hint = "If there should be some, look at what they are selected by."
        return (Finding(SUBJECT, Severity.WARN, "it lists no instance", hint),)
    zones = {each.zone for each in found if each.zone}
    places = f" in {_counted(len(zones), 'zone')}" if zones else ", none of them with a zone"
    return (Finding(SUBJECT, Severity.OK, f"it lists {_counted(len(found), 'instance')}{places}"),)


def check_api(name: str, url: str) -> None:
    """Raise ValueError where an option holds no URL that paths can be put behind."""
    try:
        check_server(url)
        if "?" in url:
            raise ValueError("it has a query")  # noqa: TRY301 - as the rest of what is wrong with it
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None


def endpoint(template: str, *, address: str, port: int | None = None, what: str) -> str:
    """Return where an instance is reached, by a template that `check_template` took; empty where that is empty.

    An IPv6 address gets its brackets. Raises `Unavailable` where the instance has no address yet.
    """
    if not template:
        return ""
    if not address:
        raise Unavailable(what=what, why="one of the instances has no address yet")
    host = f"[{address}]" if ":" in address else address
    return template.replace("{address}", host).replace("{port}", str(port))


def check_template(template: str, *, has_port: bool = False) -> None:
    """Raise ValueError where the option `endpoint` has a place that cannot be filled."""
    places = ("{address}", "{port}") if has_port else ("{address}",)
    rest = template
    for place in places:
        rest = rest.replace(place, "")
    if template and ("{" in rest or "}" in rest or "{address}" not in template):
        shown = " and ".join(f"`{place}`" for place in places)
        raise ValueError(f"`endpoint` is written as http://{{address}}:8080: it is filled with {shown}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_time(ask: Callable[[], T], timeout: Microseconds, *, what: str) -> T:
    """Return what `ask` returns, and raise what it raises; raises `Unavailable` when time is over.

    For libraries whose timeouts start anew with each byte that comes: `ask` runs in a thread that is then left behind.
    """
    with ThreadPool(1) as pool:
        try:
            return pool.apply_async(ask).get(timeout / SECOND)
        except TimeIsOver:
            raise Unavailable(what=what, why="the list was not read in time") from None
