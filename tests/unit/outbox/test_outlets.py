"""Outlets: whose notices go where, and what a check of the channels says before anything happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from adapters.outbox.outlets import Outlet
from adapters.outbox.trial import deaf, faults, unreached
from engine.errors import Rejected
from engine.notices import Notice, NoticeKind
from projections.notifications.samples import sample
from tests.unit.engine.surroundings import BEGAN
from tests.unit.outbox.bench import Bench


@pytest.fixture
def outlet(bench: Bench) -> Outlet:
    return bench.outlet


def notice(kind: NoticeKind = NoticeKind.FAILED, *, service: str = "app", channel: str = "") -> Notice:
    return sample(kind, service=service, environment="default", at=BEGAN, channel=channel)


def test_a_notice_goes_on_account_of_its_service(outlet: Outlet) -> None:
    subscription = outlet.subscription(notice(service="other"))
    assert subscription is not None
    assert subscription.service.name == "other"
    assert outlet.subscription(notice(service="stranger")) is None


def test_a_service_of_the_same_name_elsewhere_is_another_one(outlet: Outlet) -> None:
    assert outlet.subscription(replace(notice(), environment="staging")) is None


def test_what_the_events_do_not_select_does_not_go(outlet: Outlet) -> None:
    assert outlet.subscription(notice(NoticeKind.STARTED)) is None


def test_what_is_of_no_service_goes_on_account_of_any(outlet: Outlet) -> None:
    disabled = replace(notice(NoticeKind.UNDELIVERED, channel="another"), service="", environment="")
    assert outlet.subscription(disabled) is not None


def test_a_channel_is_not_told_of_its_own_trouble(outlet: Outlet) -> None:
    assert outlet.subscription(notice(NoticeKind.UNDELIVERED, channel=outlet.id)) is None
    assert outlet.subscription(notice(NoticeKind.UNDELIVERED, channel="another")) is not None


def test_a_critical_kind_that_no_channel_takes_is_named(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    service = bench.outlet.subscriptions["app"].service
    assert unreached({"ops-1": bench.outlet}, service, BEGAN) == []
    bench.sink.supports = lambda notice, *, selected: notice.kind is NoticeKind.FAILED  # type: ignore[method-assign]
    assert unreached({"ops-1": bench.outlet}, service, BEGAN) == ["rollback_started", "rollback_failed"]
    assert unreached({}, service, BEGAN) == ["failed", "rollback_started", "rollback_failed"]


def test_a_channel_that_takes_nothing_is_deaf(bench: Bench) -> None:
    assert list(deaf({"ops-1": bench.outlet}, BEGAN)) == []
    bench.sink.supports = lambda notice, *, selected: False  # type: ignore[method-assign]
    assert [channel.path[1] for channel in deaf({"ops-1": bench.outlet}, BEGAN)] == ["app", "other"]


def test_a_form_that_cannot_be_made_is_a_fault_of_its_channel(bench: Bench) -> None:
    """Of one kind, or of digests alone."""

    def refuse(notices: Sequence[Notice]) -> None:
        if notices[0].kind is NoticeKind.OVERDUE or len(notices) > limit:
            raise Rejected(what="rendering", why="the template has no `x`")

    bench.sink.rendering = refuse
    limit = 99
    messages = {text for _, text in faults({"ops-1": bench.outlet}, BEGAN)}
    assert messages == {"the message of overdue cannot be made: the template has no `x`"}
    bench.sink.rendering = lambda notices: refuse(notices) if len(notices) > 1 else None
    limit = 1
    messages = {text for _, text in faults({"ops-1": bench.outlet}, BEGAN)}
    assert messages == {"the message of a digest cannot be made: the template has no `x`"}


def test_what_a_channel_says_of_its_options_comes_first(bench: Bench) -> None:
    bench.sink.validate = lambda: ["nobody is called @oncall"]  # type: ignore[method-assign]
    assert {text for _, text in faults({"ops-1": bench.outlet}, BEGAN)} == {"nobody is called @oncall"}
