"""More messages than a test suite has time for: `python -m tests.unit.notifiers.at_length COUNT [SEED [SECONDS]]`.

By hand. COUNT notices of every kind, with anything in every field, go through every form of messages that ships: each
by itself, and every twentieth with some before it as a digest. Prints what is wrong first, and then how
many messages of each form there were, the largest of them, and how many were over a limit, invalid, had unescaped
markup or a header that was not meant; exits with 1 where any was. The same SEED draws the same notices, and after
SECONDS it stops, however many there were.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.credential_events import Cause
from engine.errors import Rejected
from engine.notices import Notice, NoticeKind
from engine.values import Instant, Microseconds
from tests.unit.notifiers.drawn import NASTY
from tests.unit.notifiers.renderers import KEY, PROBLEMS, Renderer, renderers

_DIGEST_EVERY: Final = 20
_DIGEST_MAX: Final = 12
_SHOWN_MAX: Final = 20
_TEXT_MAX: Final = 20_000
_USUAL_MAX: Final = 300
_LAST_INSTANT: Final = 253_402_300_799_000_000


def notices(seed: int) -> Iterator[Notice]:
    """Yield notices without end: every kind, and texts that nobody would write, or that are far too long.

    The strategies of drawn.py draw the like, and shrink what they find; these are drawn faster.
    """
    source = random.Random(seed)

    def text(longest: int = 60) -> str:
        chosen = source.random()
        if chosen < 0.35:
            characters = [_character(source) for _ in range(source.randrange(longest))]
            return "".join(characters)
        nasty = source.choice(NASTY)[:_TEXT_MAX]
        return nasty * (source.randint(1, _TEXT_MAX) // len(nasty)) if chosen < 0.37 else nasty[:_USUAL_MAX]

    def name() -> str:
        return "db" if source.random() < 0.3 else text(20)

    def maybe(value: str) -> str | None:
        return value if source.random() < 0.7 else None

    def instant() -> Instant:
        return Instant(source.randrange(_LAST_INSTANT))

    kinds = tuple(NoticeKind)
    while True:
        yield Notice(
            position=source.randrange(2**63),
            kind=source.choice(kinds),
            at=instant(),
            service=name(),
            environment=name(),
            rotation_id=name(),
            is_rollback=source.random() < 0.5,
            strategy=name(),
            state=name(),
            version=maybe(name()),
            previous_version=maybe(name()),
            actor=text(),
            reason=text(),
            automatic=source.random() < 0.5,
            started_at=instant() if source.random() < 0.5 else None,
            duration=Microseconds(source.randrange(10**15)) if source.random() < 0.7 else None,
            cause=Cause(name(), name(), text(), text()) if source.random() < 0.7 else None,
            next_steps=tuple(text() for _ in range(source.randrange(6))),
            wave=source.choice([None, 0, 7, 10**6]),
            until=instant() if source.random() < 0.5 else None,
            ends_failure=source.random() < 0.5,
            channel=text(),
        )


def _character(source: random.Random) -> str:
    """Return any character but half of a pair, which nothing that was read as UTF-8 has."""
    number = source.choice([source.randrange(0x80), source.randrange(0x3000), source.randrange(0x110000)])
    return " " if 0xD800 <= number < 0xE000 else chr(number)


@dataclass
class Figures:
    """What became of the messages of one form."""

    messages: int = 0
    untold: int = 0
    """Notices that the form has no message for, as the channel says itself."""
    largest: int = 0
    found: Counter[str] = field(default_factory=Counter)


def judge(renderer: Renderer, given: Sequence[Notice], dropped: int, figures: Figures) -> list[str]:
    """Render notices, and return what is wrong with the message, in words; `figures` count it."""
    told = [notice for notice in given if renderer.notifier.supports(notice, selected=True)]
    if not told:
        figures.untold += 1
        return []
    try:
        outgoing = renderer.notifier.render(told, key=KEY, dropped=dropped)
    except Rejected as error:
        figures.found["invalid"] += 1
        return [f"{renderer.name}: it cannot be rendered: {error.message}"]
    figures.messages += 1
    figures.largest = max(figures.largest, *(len(body) for body in (outgoing.content, *outgoing.further)))
    said = []
    for kind, what in renderer.problems(outgoing):
        figures.found[kind] += 1
        said.append(f"{renderer.name}: {kind}: {what}")
    return said


def play(count: int, seed: int, seconds: float = math.inf) -> tuple[int, dict[str, Figures], list[str]]:
    """Send so many notices through every form, or as many as there is time for.

    Returns how many there were, the figures of each form, and the first problems in words.
    """
    until = time.monotonic() + seconds
    every = renderers()
    figures = {renderer.name: Figures() for renderer in every}
    before: deque[Notice] = deque(maxlen=_DIGEST_MAX)
    problems: list[str] = []
    played = 0
    for number, notice in zip(range(count), notices(seed), strict=False):
        if time.monotonic() > until:
            break
        played += 1
        before.append(notice)
        messages: list[tuple[Sequence[Notice], int]] = [([notice], 0)]
        if number % _DIGEST_EVERY == _DIGEST_EVERY - 1:
            messages.append((tuple(before), number))
        for renderer in every:
            for given, dropped in messages:
                for problem in judge(renderer, given, dropped, figures[renderer.name]):
                    if len(problems) < _SHOWN_MAX:
                        problems.append(f"seed {seed}, notice {number}: {problem}")
    return played, figures, problems


def main(arguments: Sequence[str]) -> int:
    """Play, and print the figures."""
    count, seed, seconds = [*map(float, arguments), *(0.0, math.inf)[len(arguments) - 1 :]]
    began = time.monotonic()
    played, figures, problems = play(int(count), int(seed), seconds)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{played:,} notices, seed {seed:.0f}, {time.monotonic() - began:.0f} s")
    print(f"{'form':<20} {'messages':>9} {'untold':>7} {'largest':>8}  {'  '.join(PROBLEMS)}")
    for name, each in figures.items():
        counts = "  ".join(f"{each.found[kind]:>{len(kind)}}" for kind in PROBLEMS)
        print(f"{name:<20} {each.messages:>9,} {each.untold:>7,} {each.largest:>8,}  {counts}")
    total = sum(each.messages for each in figures.values())
    wrong = sum(each.found.total() for each in figures.values())
    print(f"{total:,} messages, {wrong} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
