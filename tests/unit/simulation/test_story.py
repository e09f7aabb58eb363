"""A story says in words what the engine asked and saw, with times, and never a secret."""

from __future__ import annotations

import re

from adapters.simulation.faults import KINDS, Fault
from adapters.simulation.hands import Deed, Hand
from adapters.simulation.scenario import Scenario, play
from adapters.simulation.seeds import scenario_of
from adapters.simulation.story import INVARIANTS, Story, tell
from engine.plan import Plan, Strategy
from engine.values import SECOND, Microseconds
from tests.architecture.source import ROOT


def texts(story: Story, *, full: bool = True) -> list[str]:
    """Return the steps without their times, and the versions without the part that is drawn."""
    return [re.sub(r"(v[1-9])-[0-9a-f]{6}", r"\1", step.partition("  ")[2]) for step in story.steps(full=full)]


def told(*faults: Fault, strategy: Strategy = Strategy.SINGLE) -> Story:
    """Return the story of one rotation under faults."""
    return tell(Scenario(strategy=strategy, rotations=1, faults=faults))


def test_a_calm_rotation_is_told_in_order() -> None:
    steps = [step for step in texts(told()) if "recorded" not in step]
    assert steps[:8] == [
        "process-1 begins",
        "the store is given v1: done",
        "the target is asked to accept v1: done",
        "a fresh login with v1: accepted; with a wrong value: refused; the query works",
        "the store is asked to call v1 current: done",
        "v1 is published: done",
        "a look at v1: accepted",
        "the target is asked to refuse v0-initial: done",
    ]


def test_a_lost_answer_a_death_and_a_look_are_told() -> None:
    """The answer is lost, the process dies; the next one looks before it asks again."""
    story = texts(told(Fault("target.apply", 1, "late", 2.0), Fault("target.probe", 1, "crash_before")))
    asked = next(number for number, step in enumerate(story) if "happens later" in step)
    assert story[asked] == f"the target is asked to accept v1: no answer; it may have happened [{KINDS['late']}]"
    rest = story[asked:]
    assert rest.index("the process died") < rest.index("process-2 begins")
    assert f"a look at v1: the process dies [{KINDS['crash_before']}]" in rest
    assert "a late effect landed" in rest


def test_trouble_is_what_a_short_story_has() -> None:
    """Faults and changes of state; what went as it should is in the whole story alone."""
    story = told(Fault("store.promote", 1, "error_before"))
    short, full = texts(story, full=False), texts(story)
    assert f"the store is asked to call v1 current: not now [{KINDS['error_before']}]" in short
    assert "recorded: promoted, now monitoring" in short
    assert "the store is given v1: done" not in short
    assert set(short) < set(full)
    assert [step for step in full if step in short] == short


def test_what_the_log_refuses_and_what_people_do_is_told() -> None:
    faults = (Fault("log.append", 4, "disk_full"), Fault("log.append", 12, "abort"))
    scenario = Scenario(strategy=Strategy.DUAL, rotations=1, faults=faults, deeds=(Deed(3, Hand.REVOKE_CURRENT),))
    story = texts(tell(scenario), full=False)
    assert "when this is to be recorded, the log has no space" in story
    assert "when this is to be recorded, an operator aborts the rotation" in story
    assert f"by hand: {Hand.REVOKE_CURRENT}" in story


def test_a_step_has_its_time_since_the_begin() -> None:
    """Hours, minutes, seconds and milliseconds of the simulated clock."""
    plan = Plan(Strategy.DUAL, overlap=True, grace=Microseconds(90 * 60 * SECOND))
    steps = tell(Scenario(strategy=Strategy.DUAL, plan=plan, rotations=1)).steps()
    assert steps[0].startswith("0:00:00.0")
    assert [step for step in steps if step.startswith("1:30:00.0") and "grace ended" in step]


def test_a_violation_is_the_last_step() -> None:
    plan = Plan(Strategy.DUAL, overlap=True, grace=Microseconds(60 * SECOND))
    story = tell(Scenario(strategy=Strategy.DUAL, plan=plan, rotations=1, refresh=Microseconds(3600 * SECOND)))
    assert story.played.invariant == "I3"
    assert story.steps()[-1].endswith(f"I3 is violated: {story.played.message}")


def test_telling_a_run_does_not_change_it() -> None:
    """The log is the same byte for byte as that of the run that nobody listened to."""
    for seed in range(40):
        scenario = scenario_of(seed)
        assert tell(scenario).played.world.log.verify() == play(scenario).world.log.verify()


def test_no_secret_is_told() -> None:
    """Versions are named, and their values are not."""
    for seed in range(60):
        story = tell(scenario_of(seed))
        values = [value.revealed() for value in story.played.world.seen_values.values()]
        assert values
        assert not [step for step in story.steps(full=True) for value in values if value in step]


def test_every_invariant_of_the_architecture_has_its_words() -> None:
    """But the one about projections, which no run has."""
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## Invariants")[1]
    named = {line.split("|")[1].strip() for line in table.splitlines() if line.startswith(("| I", "| L"))}
    assert named - {"I12"} <= set(INVARIANTS)
