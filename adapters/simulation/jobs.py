"""What the processes of a crowd do: rotate, resume, decide; and the run of a crowd from beginning to end.

Rule: a job is what a person or a schedule would start; how processes take turns stands in crowd.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from adapters.simulation import people
from adapters.simulation.crowd import Crowd, Freeze, Job, Member
from adapters.simulation.faults import CALLS, PEOPLE, Crash, Fault, kinds_at
from adapters.simulation.hands import is_dead_end, put_right
from adapters.simulation.processes import until_a_person_looks
from adapters.simulation.trace import Happening
from adapters.simulation.world import Simulation
from engine.errors import KeyturnError
from engine.machine import ENDED
from engine.operations import Operations
from engine.performance import World
from engine.plan import Strategy
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND

LIVES_MAX: Final = 20
"""Processes that one job may take; what is left then is carried on when the crowd is gone."""
LOOK_AGAIN: Final = SECOND // 100
"""After how long a process that could do nothing looks again; doubled each time."""


def live(crowd: Crowd, member: Member, life: Callable[[World], bool]) -> None:
    """Live until `life` says that all is done, with a new process after every death and every error."""
    for number in range(LIVES_MAX):
        fresh = crowd.seen_by(member)
        try:
            if life(fresh):
                return
        except Crash:
            crowd.world.story.append(f"{fresh.owner} died")
            crowd.world.happened(Happening.DIED, "process", owner=fresh.owner)
        except KeyturnError as error:
            crowd.world.story.append(f"{fresh.owner} ended: {error.message}")
            crowd.world.happened(Happening.STOPPED, error.kind, owner=fresh.owner)
        crowd.sleep(member, LOOK_AGAIN << number)


def rotate(crowd: Crowd, member: Member) -> None:
    """Rotate: begin where the credential is free, and see it through; drive on what is there where it is not."""
    begun: list[Rotation] = []

    def life(fresh: World) -> bool:
        operations = Operations(fresh)
        rotation = operations.open_rotation(*crowd.world.names)
        if rotation is None and begun:
            return True
        if rotation is None:
            rotation = operations.rotation(
                operations.start(*crowd.world.names, crowd.world.plan(), logins=crowd.world.logins)
            )
            begun.append(rotation)
        return drive(crowd.world, fresh, rotation) and bool(begun)

    live(crowd, member, life)


def resume(crowd: Crowd, member: Member) -> None:
    """Drive on what is open; do it twice, so that somebody is there when the first one fails."""
    ended: list[Rotation] = []

    def life(fresh: World) -> bool:
        rotation = Operations(fresh).open_rotation(*crowd.world.names)
        if rotation is not None and drive(crowd.world, fresh, rotation):
            ended.append(rotation)
        return len(ended) > 1

    live(crowd, member, life)


def drive(world: Simulation, fresh: World, rotation: Rotation) -> bool:
    """Drive a rotation, set it going where it rests, and tell whether it ended."""
    people.set_going(world, Operations(fresh), rotation)
    ended = Runner(fresh).drive(rotation.id, patience=until_a_person_looks(world, rotation))
    if world.touched and ended.state not in ENDED:
        put_right(world, ended)
        world.dead_end = is_dead_end(world, ended)
    return ended.state in ENDED or world.dead_end


def operator(seed: int) -> Job:
    """Return the job of a person who decides something now and then."""
    source = random.Random(seed)

    def decide(crowd: Crowd, member: Member) -> None:
        for _ in range(source.randint(1, 4)):
            crowd.sleep(member, int(source.choice([0.01, 0.05, 0.3, 10, 2000]) * SECOND * source.random()))
            people.command(crowd.world, source.choice(PEOPLE))

    return decide


def crowded(
    strategy: Strategy,
    faults: Sequence[Fault] = (),
    *,
    jobs: Sequence[Job],
    freezes: Sequence[Freeze] = (),
    seed: int = 0,
    **options: Any,
) -> Simulation:
    """Let several processes do their jobs at once under faults, settle, rotate once more, and return the world."""
    world = Simulation(strategy, faults, seed=seed, **options)
    Crowd(world, random.Random(seed), freezes=freezes).run(jobs)
    world.settle()
    world.lead_on()
    return world


def crowd_of(seed: int, **options: Any) -> Simulation:
    """Return the run of a seed: one to four processes, up to eight faults, up to four of them frozen for a while."""
    source = random.Random(f"crowd {seed}")
    strategy = source.choice(list(Strategy))
    jobs = [rotate, *(source.choice([rotate, resume, operator(seed)]) for _ in range(source.randint(0, 3)))]
    faults = draw_faults(source, strategy, source.choice([0, 1, 1, 2, 3, 8]))
    freezes = [
        Freeze(source.randrange(len(jobs)), source.randint(1, 60), source.choice([1, 4, 40, 40, 300, 4000]))
        for _ in range(source.choice([0, 1, 1, 2, 4]))
    ]
    try:
        return crowded(
            strategy, faults, jobs=jobs, freezes=freezes, seed=seed, takeover=source.random() < 0.2, **options
        )
    except AssertionError as violation:
        violation.add_note(f"crowd {seed}: {strategy}, {faults}, {freezes}")
        raise


def draw_faults(source: random.Random, strategy: Strategy, count: int) -> list[Fault]:
    """Draw some faults; clocks are not set back here, see `Crowd`."""
    drawn = []
    for _ in range(count):
        call = source.choice(sorted(CALLS))
        kinds = [kind for kind in kinds_at(call, strategy) if kind != "clock_back"]
        drawn.append(
            Fault(
                call,
                source.randint(1, 30 if call == "log.append" else 6),
                source.choice(kinds),
                source.choice([0.01, 1.0, 2.5, 4.9]),
            )
        )
    return drawn
