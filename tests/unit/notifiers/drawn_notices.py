"""Notices that hypothesis draws: every kind, with texts in every field that nobody would write. No tests live here."""

from __future__ import annotations

from hypothesis import strategies as st

from engine.credential_events import Cause
from engine.notices import Notice, NoticeKind
from engine.values import Instant, Microseconds

_NASTY = [
    "x\r\nBcc: canary@evil.test\r\n\r\n<b>body</b>",
    "=?utf-8?q?=0D=0ABcc=3A_canary=40evil=2Etest?=",
    "<script>alert(1)</script><img src=https://evil.test/x.png onerror='x'>&amp;\"",
    "\x00\x07\x1b[31mred\x7f\x9b\ud800",
    "\u202eright to left\u2066isolated\u2069 עברית العربية",
    "line\u2028line\x85line\x0bline\x1cline",
    "From here\n.\nFrom there\n..",
    "👩‍👩‍👧‍👦🔑é" * 40,
    "word " * 400,
    "x" * 5_000,
    "\n" * 300,
    " \t ",
]
_texts = st.one_of(st.text(max_size=40), st.sampled_from(_NASTY))
_names = st.one_of(st.just("db"), _texts)
_instants = st.integers(0, 253_402_300_799_000_000).map(Instant)

notices = st.builds(
    Notice,
    position=st.integers(0, 2**63 - 1),
    kind=st.sampled_from(NoticeKind),
    at=_instants,
    service=_names,
    environment=_names,
    rotation_id=_names,
    strategy=_names,
    state=_names,
    version=st.none() | _names,
    previous_version=st.none() | _names,
    actor=_texts,
    reason=_texts,
    automatic=st.booleans(),
    duration=st.none() | st.integers(0, 10**15).map(Microseconds),
    cause=st.none() | st.builds(Cause, step=_names, kind=_names, message=_texts, hint=_texts),
    next_steps=st.lists(_texts, max_size=3).map(tuple),
    wave=st.none() | st.integers(0, 10**6),
    until=st.none() | _instants,
    channel=_texts,
)
"""Notices of every kind, with anything in every field."""
