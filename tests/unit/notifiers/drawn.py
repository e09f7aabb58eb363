"""Notices that hypothesis draws: every kind, and texts that nobody would write. No tests live here."""

from __future__ import annotations

from hypothesis import strategies as st

from engine.credential_events import Cause
from engine.notices import Notice, NoticeKind
from engine.values import Instant, Microseconds
from projections.notifications.samples import samples
from tests.contract.awkward import AWKWARD

AT = Instant(1_790_000_000_000_000)
CANARY = "canary-4f1d2c"

NASTY = [
    *AWKWARD.values(),
    "<!channel> <@U012345678> <!subteam^S012345678|x> <https://canary.example|click>",
    "&lt;!here&gt; &amp;amp; & < >",
    "*bold* _italic_ ~gone~ `code` ```block``` > quote",
    "@here @channel :boom: #general",
    "line\nline\r\nBcc: canary\u2028line\x85line",
    "\x00\x07\x1b[31mred\x7f\x9b",
    "\u202eright to left\u202c \u2066isolated\u2069 עברית العربية",
    "👩‍👩‍👧‍👦🔑🇩🇪é" * 50,
    "\ufffe\uffff",
    '"}]}, {"type": "section"',
    "{{ 7 * 7 }} {% raw %} ${HOME}",
    " \n\t ",
]
"""Texts that something on the way would take for its own."""
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(NASTY),
    st.builds(lambda text, times: text * times, st.sampled_from(NASTY), st.integers(1, 400)),
)
"""Texts of the outside: what is markup somewhere, what nobody sees, and what is far too long."""
names = st.one_of(st.just("db"), st.text(max_size=20), st.sampled_from(NASTY))
instants = st.integers(0, 253_402_300_799_000_000).map(Instant)
causes = st.none() | st.builds(Cause, step=names, kind=names, message=texts, hint=texts)

notices = st.builds(
    Notice,
    position=st.integers(0, 2**63 - 1),
    kind=st.sampled_from(NoticeKind),
    at=instants,
    service=names,
    environment=names,
    rotation_id=names,
    is_rollback=st.booleans(),
    strategy=names,
    state=names,
    version=st.none() | names,
    previous_version=st.none() | names,
    actor=texts,
    reason=texts,
    automatic=st.booleans(),
    started_at=st.none() | instants,
    duration=st.none() | st.integers(0, 10**15).map(Microseconds),
    cause=causes,
    next_steps=st.lists(texts, max_size=6).map(tuple),
    wave=st.none() | st.integers(0, 10**6),
    until=st.none() | instants,
    ends_failure=st.booleans(),
    channel=texts,
)
"""Notices of every kind, with anything in every field."""


def of(kind: NoticeKind) -> Notice:
    """Return the sample of a kind: of production/db, with every field filled."""
    return next(each for each in samples(service="db", environment="production", at=AT) if each.kind is kind)
