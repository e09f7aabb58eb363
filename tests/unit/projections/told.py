"""What the outbox makes of a story: the notices, and facts of channels between those of credentials."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.views import SqliteViews
from engine import channel_events as c
from engine.credential_events import Cause
from engine.facts import Fact, Recorded
from engine.notices import Notice, NoticeKind
from engine.values import SECOND, Instant
from projections.feed import Rows, catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.tables import Channel
from tests.histories import BEGAN, ListedLog, recorded
from tests.unit.projections.stories import Story

NOT_THERE = Cause("notify", "unavailable", "nobody answers", "Wait.")
REFUSES = Cause("notify", "rejected", "it says no", "Look.")


class Told:
    """A log that grows: the facts of stories, and what channels did."""

    def __init__(self, *channels: str) -> None:
        self.facts: list[Fact] = []
        self._versions: dict[str, int] = {}
        for name in channels:
            self.note(c.ChannelOpened(name, 0))

    def tell(self, story: Story) -> int:
        """Append what a story has more than before; return the position of its last fact."""
        known = {(fact.originator_id, fact.originator_version) for fact in self.facts}
        self.facts += [fact for fact in story.facts if (fact.originator_id, fact.originator_version) not in known]
        return len(self.facts)

    def note(self, *events: c.ChannelEvent, at: int | None = None) -> int:
        """Append facts of channels; return the position of the last."""
        for event in events:
            self._versions[event.channel] = self._versions.get(event.channel, 0) + 1
            when = Instant(BEGAN + len(self.facts) * SECOND if at is None else at)
            stream = c.channel_id(event.channel)
            self.facts.append(Fact(stream, self._versions[event.channel], when, "eve", event))
        return len(self.facts)

    @contextmanager
    def rows(self, cuts: Sequence[int] = ()) -> Iterator[Rows]:
        """Yield the view of all facts, folded in one go, or anew at each cut."""
        with folded(recorded(self.facts), cuts) as found:
            yield found

    def notices(self) -> list[Notice]:
        """Return every notice, oldest first."""
        with self.rows() as rows:
            found = [queries.notice_at(rows, position) for position in range(1, len(self.facts) + 1)]
        return [notice for notice in found if notice is not None]

    def channel(self, name: str) -> Channel:
        """Return how a channel stands."""
        with self.rows() as rows:
            found = queries.channel(rows, name)
        assert found is not None
        return found

    def unheard(self) -> dict[str, int | None]:
        """Return the credentials of which nobody was told, with the position of what they were not told."""
        with self.rows() as rows:
            return {each.credential: each.unheard for each in queries.unheard(rows, before=Instant(2**62))}


@contextmanager
def folded(facts: list[Recorded], cuts: Sequence[int] = ()) -> Iterator[Rows]:
    """Yield the view of facts, folded as by one process for each cut."""
    with tempfile.TemporaryDirectory() as folder, SqliteViews(Path(folder) / "views.db") as views:
        for cut in [*sorted(cuts), len(facts)]:
            catch_up(OUTBOX, ListedLog(facts[:cut]), views)
        with views.reading(OUTBOX) as rows:
            yield rows


def of(story: Story) -> list[Notice]:
    """Return what people are told of a story."""
    told = Told()
    told.tell(story)
    return told.notices()


def kinds(story: Story) -> list[NoticeKind]:
    """Return the kinds of what people are told of a story."""
    return [notice.kind for notice in of(story)]
