"""What every listing ends with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.discovery.listing import check_by_listing, check_template, endpoint, listed
from engine.errors import Rejected, Unavailable
from engine.instances import Instance
from engine.ports import Severity


class Listing:
    """A discovery that lists what it was given."""

    def __init__(self, *found: Instance) -> None:
        self.found = found

    def instances(self) -> Sequence[Instance]:
        """Return them."""
        return self.found


def test_instances_come_in_the_order_of_their_ids() -> None:
    found = [Instance("b"), Instance("a"), Instance("c")]
    assert [each.id for each in listed(found, what="listing")] == ["a", "b", "c"]


def test_an_id_that_two_share_is_refused() -> None:
    with pytest.raises(Rejected, match="two instances are called 'a'"):
        listed([Instance("a", zone="1"), Instance("b"), Instance("a", zone="2")], what="listing")


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a\u202eb", "a\u00a0b", "x" * 254])
def test_what_is_no_id_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="visible characters"):
        listed([Instance(name)], what="listing")


def test_the_longest_id_is_one() -> None:
    assert listed([Instance("x" * 253)], what="listing")


@pytest.mark.parametrize(
    ("found", "severity", "message"),
    [
        ([], Severity.WARN, "it lists no instance"),
        ([Instance("a")], Severity.OK, "it lists 1 instance, none of them with a zone"),
        ([Instance("a", zone="1"), Instance("b", zone="1")], Severity.OK, "it lists 2 instances in 1 zone"),
        ([Instance("a", zone="1"), Instance("b", zone="2")], Severity.OK, "it lists 2 instances in 2 zones"),
    ],
)
def test_a_person_is_told_how_many_there_are(found: list[Instance], severity: Severity, message: str) -> None:
    [finding] = check_by_listing(Listing(*found))
    assert (finding.severity, finding.message) == (severity, message)


@pytest.mark.parametrize(
    ("template", "address", "expected"),
    [
        ("", "10.0.0.5", ""),
        ("", "", ""),
        ("http://{address}:{port}/x", "10.0.0.5", "http://10.0.0.5:81/x"),
        ("https://{address}", "fd00::5", "https://[fd00::5]"),
        ("https://{address}", "db.test", "https://db.test"),
    ],
)
def test_an_endpoint_is_made_of_an_address(template: str, address: str, expected: str) -> None:
    check_template(template, has_port=True)
    assert endpoint(template, address=address, port=81, what="listing") == expected


def test_an_instance_without_an_address_has_no_endpoint_yet() -> None:
    with pytest.raises(Unavailable, match="no address"):
        endpoint("http://{address}", address="", what="listing")


@pytest.mark.parametrize("template", ["http://{addres}", "http://{address}:{port}", "http://x:80", "{address", "{}"])
def test_a_place_that_cannot_be_filled_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="`endpoint`"):
        check_template(template)
