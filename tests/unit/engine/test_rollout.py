"""Which instances get a version when: the whole fleet, in parts that are counted, the same whenever it is planned."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.instances import Instance
from engine.rollout import (
    RolloutPolicy,
    Share,
    Stage,
    Wave,
    blast,
    has_label,
    place_of,
    plan_waves,
    refusal,
    seed_of,
)
from engine.values import SECOND, Microseconds

USUAL = tuple(Stage(percentage) for percentage in (5, 25, 50, 100))
SEED = seed_of("app", "production", "v7")


def fleet(count: int, *, zones: int = 1, marked: frozenset[int] = frozenset()) -> list[Instance]:
    """Return so many instances, the zones in turn, some of them marked."""
    return [
        Instance(f"web-{number:03}", zone=f"zone-{number % zones}", labels={"role": "web"}, canary=number in marked)
        for number in range(count)
    ]


@st.composite
def fleets(draw: st.DrawFn) -> list[Instance]:
    """Return a fleet of up to 500 in zones of any sizes, some of it marked or labelled."""
    count = draw(st.integers(0, 500))
    chance = random.Random(draw(st.integers(0, 2**32)))
    zones, marked, labelled = draw(st.integers(1, 5)), draw(st.sampled_from((0, 0.02, 0.5))), draw(st.booleans())
    return [
        Instance(
            f"i-{number}",
            zone=f"z{int(zones * chance.random() ** 2)}",
            labels={"role": "canary"} if labelled and chance.random() < 0.1 else {},
            canary=chance.random() < marked,
        )
        for number in range(count)
    ]


@st.composite
def policies(draw: st.DrawFn) -> RolloutPolicy:
    """Return a policy whose percentages rise, to 100 or not."""
    percentages = sorted(draw(st.sets(st.integers(1, 100), max_size=8)))
    limit = st.one_of(st.none(), st.integers(1, 40))
    return RolloutPolicy(
        stages=tuple(Stage(each, Microseconds(each), Microseconds(each)) for each in percentages),
        canary=draw(st.booleans()),
        selector=draw(st.sampled_from(("", "role=canary"))),
        max_unverified=draw(limit),
        max_unverified_zone=draw(limit),
    )


@given(fleets(), policies(), st.randoms(use_true_random=False))
@example([], RolloutPolicy(USUAL), random.Random(1))
@settings(max_examples=60, deadline=None)
def test_what_holds_of_every_plan(instances: list[Instance], policy: RolloutPolicy, chance: random.Random) -> None:
    waves = plan_waves(instances, policy, SEED)
    zone = {each.id: each.zone for each in instances}

    placed = [each for wave in waves for each in wave.instances]
    assert sorted(placed) == sorted(zone), "everybody is in one wave"
    assert all(wave.instances for wave in waves), "no wave is empty"

    sizes = [sum(len(wave.instances) for wave in waves[: number + 1]) for number in range(len(waves))]
    canaries = sum(len(wave.instances) for wave in waves if wave.canary)
    ends = {canaries, *(max(canaries, -(-len(instances) * each.percentage // 100)) for each in policy.stages)}
    assert set(sizes) >= ends - {0}, "every stage ends where its percentage, rounded up, says"
    if policy.max_unverified is None and policy.max_unverified_zone is None:
        assert set(sizes) <= {*ends, len(instances)}, "and nothing else ends a wave"
    percentages = [wave.percentage for wave in waves]
    assert percentages == sorted(percentages)
    assert percentages[-1:] in ([], [100])
    assert all(-(-len(instances) * each // 100) >= size for each, size in zip(percentages, sizes, strict=True))

    for wave in waves:
        assert len(wave.instances) <= (policy.max_unverified or 500)
        assert max(Counter(zone[each] for each in wave.instances).values()) <= (policy.max_unverified_zone or 500)
    assert [wave.canary for wave in waves] == sorted((wave.canary for wave in waves), reverse=True)
    assert bool(canaries) == (policy.canary and bool(instances))

    shuffled = chance.sample(instances, len(instances))
    assert msgspec.json.encode(plan_waves(shuffled, policy, SEED)) == msgspec.json.encode(waves)


def test_the_order_is_the_same_on_every_machine_and_in_every_release() -> None:
    """A plan that came out otherwise after an upgrade would not be the one that was shown before it."""
    waves = plan_waves(fleet(6, zones=2), RolloutPolicy((Stage(50), Stage(100))), SEED)
    assert [wave.instances for wave in waves] == [
        ("web-005",),
        ("web-004", "web-001"),
        ("web-000", "web-003", "web-002"),
    ]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (0, []),
        (1, [1]),
        (2, [1, 1]),
        (3, [1, 1, 1]),
        (20, [1, 4, 5, 10]),
        (100, [1, 4, 20, 25, 50]),
        (101, [1, 5, 20, 25, 50]),
    ],
)
def test_the_usual_waves_are_cumulative_and_rounded_up_and_count_the_canary(count: int, sizes: list[int]) -> None:
    waves = plan_waves(fleet(count), RolloutPolicy(USUAL), SEED)
    assert [len(wave.instances) for wave in waves] == sizes


def test_the_canary_is_who_is_selected_else_who_is_marked_else_the_first() -> None:
    instances = fleet(50, marked=frozenset({7, 8}))
    instances[3] = Instance("web-003", labels={"role": "canary"})
    chosen = {
        "role=canary": {"web-003"},
        "role=nobody": {"web-007", "web-008"},
        "": {"web-007", "web-008"},
    }
    for selector, expected in chosen.items():
        first = plan_waves(instances, RolloutPolicy(USUAL, selector=selector), SEED)[0]
        assert (set(first.instances), first.canary) == (expected, True)
    unmarked = fleet(50)
    first = plan_waves(unmarked, RolloutPolicy(USUAL), SEED)[0]
    assert len(first.instances) == 1
    other = plan_waves(unmarked, RolloutPolicy(USUAL), seed_of("app", "production", "v8"))[0]
    assert other.instances != first.instances, "another version begins elsewhere"


def test_without_a_canary_marks_mean_nothing() -> None:
    waves = plan_waves(fleet(50, marked=frozenset({7})), RolloutPolicy(USUAL, canary=False), SEED)
    assert [len(wave.instances) for wave in waves] == [3, 10, 12, 25]
    assert not any(wave.canary for wave in waves)


def test_the_canary_soaks_for_its_time_and_a_stage_for_its_own() -> None:
    policy = RolloutPolicy(
        (Stage(50, Microseconds(2 * SECOND), Microseconds(3 * SECOND)), Stage(100)),
        canary_soak=Microseconds(9 * SECOND),
        max_unverified=2,
    )
    waves = plan_waves(fleet(8), policy, SEED)
    assert [(len(wave.instances), wave.percentage, wave.soak // SECOND, wave.wait // SECOND) for wave in waves] == [
        (1, 13, 9, 0),
        (2, 38, 2, 0),
        (1, 50, 2, 3),
        (2, 75, 0, 0),
        (2, 100, 0, 0),
    ]


def test_a_canary_of_more_than_may_be_unverified_is_several_waves() -> None:
    policy = RolloutPolicy(USUAL, selector="role=web", max_unverified=2)
    waves = plan_waves(fleet(5), policy, SEED)
    assert [(len(wave.instances), wave.canary, wave.percentage) for wave in waves] == [
        (2, True, 40),
        (2, True, 80),
        (1, True, 100),
    ]


def test_a_wave_takes_from_the_zones_in_turn() -> None:
    instances = fleet(30, zones=3)
    waves = plan_waves(instances, RolloutPolicy((Stage(20), Stage(100)), canary=False), SEED)
    zone = {each.id: each.zone for each in instances}
    assert Counter(zone[each] for each in waves[0].instances) == {"zone-0": 2, "zone-1": 2, "zone-2": 2}


def test_who_joins_gets_the_same_place_each_time_in_proportion_to_the_waves() -> None:
    waves = plan_waves(fleet(100), RolloutPolicy(USUAL), SEED)
    joiners = [Instance(f"new-{number}") for number in range(2_000)]
    places = [place_of(each, waves, SEED) for each in joiners]
    assert places == [place_of(each, waves, SEED) for each in joiners]
    shares = {number: count / 2_000 for number, count in Counter(places).items()}
    assert shares == pytest.approx({1: 4 / 99, 2: 20 / 99, 3: 25 / 99, 4: 50 / 99}, abs=0.03)


def test_who_joins_a_fleet_of_a_canary_alone_or_of_nobody_is_in_the_first_wave() -> None:
    for waves in ((), (Wave(("a",), 100, canary=True),)):
        assert place_of(Instance("new"), waves, SEED) == 0


def test_the_blast_of_a_wave_is_told_of_the_fleet_and_of_each_zone() -> None:
    instances = [Instance("a", zone="x"), Instance("b", zone="x"), Instance("c", zone="y"), Instance("d")]
    waves = (Wave(("a", "c"), 50), Wave(("b", "d"), 100))
    first, second = blast(waves, instances)
    assert (first.fleet, first.zones) == (Share(2, 4), {"x": Share(1, 2), "y": Share(1, 1)})
    assert (second.fleet.percentage, second.zones) == (50.0, {"": Share(1, 1), "x": Share(1, 2)})
    assert (Share(1, 3).percentage, Share(0, 0).percentage) == (33.3, 0.0)


def test_a_selector_is_of_one_label_and_its_value() -> None:
    instance = Instance("a", labels={"role": "canary", "tier": "a=b"})
    assert has_label(instance, "role=canary")
    assert has_label(instance, "tier=a=b")
    assert not has_label(instance, "role=other")
    assert not has_label(instance, "other=canary")


def test_where_only_one_version_can_be_valid_waves_are_refused_with_what_could() -> None:
    assert refusal(overlap=True, able=()) is None
    refused = refusal(overlap=False, able=("alternating", "dual"))
    assert refused is not None
    assert "one version is valid at a time" in refused.why
    assert refused.advice == "Use one of: alternating, dual."
    alone = refusal(overlap=False, able=())
    assert alone is not None
    assert "Use one of" not in alone.advice
