"""No secret leaves the encrypted store but to where it is published: not in any file, stream, log or process list.

Every value that a run makes, in twenty spellings, is looked for in all that the run leaves behind or shows while
it goes on. Values hold characters that each spelling writes in its own way, and a control finds each of them.
"""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from engine.plan import Strategy
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.kill_driver import FORESEEN_BY_NOBODY
from tests.integration.leaks import Watch, files, hits, monitored, spellings
from tests.integration.sites import SERVICE, PostgresSite, RedisSite, Site

pytestmark = pytest.mark.slow

CHARACTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789%&+/<>;="
PASSWORD = f'password: {{length: 40, alphabet: {{characters: "{CHARACTERS}"}}}}'
ROOT = Path(__file__).parents[2]
HELD = ("secrets.kt", "app.env", "app.json")
"""Where a secret may stand: the encrypted store, and the places that it is published to."""


def _program(installation: Installation, watch: Watch, *arguments: str) -> Ended:
    """Run the program in a process of its own, whose arguments and environment are its own as well, and watch it."""
    command = [sys.executable, "-m", "adapters.cli.main", *installation.call(*arguments)["arguments"]]
    with watch.watching():
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def _write_ahead_log_kept(installation: Installation) -> Iterator[None]:
    """Hold the log open, so that nobody who closes it takes the write-ahead log away."""
    with closing(sqlite3.connect(installation.state / "events.db")) as reader:
        reader.execute("SELECT MAX(position) FROM events").fetchone()
        yield


def _everything(installation: Installation, watch: Watch) -> Iterator[tuple[str, Ended]]:
    """Do everything that deals with secrets: rotations that work, fail, break, are killed, and go back."""
    run = installation.run
    yield "rotate", _program(installation, watch, "rotate", SERVICE, "-vv")
    yield "again", _program(installation, watch, "rotate", SERVICE, "-vv", "--json")
    installation.site.spoil()
    yield "failing", run("rotate", SERVICE, "-vv")
    installation.site.mend()
    for boundary in ("before target.apply", "before store.promote", "before target.verify"):
        yield f"broken {boundary}", run("rotate", SERVICE, "-vv", break_at=boundary)
        yield f"resumed {boundary}", run("resume", "-vv")
    yield "killed", run("rotate", SERVICE, "-vv", die_at=24)
    yield "resumed", _program(installation, watch, "resume", "-vv")
    yield "back", run("rollback", SERVICE, "--yes", "-vv")
    yield "refused", run("rollback", SERVICE, "--to", "#1", "--yes", "-vv")
    for reading in (
        ("status", "--json"),
        ("history", SERVICE, "--json"),
        ("replay", SERVICE, "--json"),
        ("show", SERVICE, "--json"),
        ("secret", "get", SERVICE),
        ("plan", SERVICE, "--json"),
        ("doctor", "-vv"),
        ("config", "show"),
        ("audit", "export"),
    ):
        yield " ".join(reading), run(*reading)


def _secrets(installation: Installation) -> dict[str, str]:
    """Return every value of the run: nothing is destroyed, so the store holds them all, and our own login's."""
    made = {version: value.revealed() for version, value in installation.values().items()}
    return {**made, "our own login": installation.site.password}


def _server_log(site: Site) -> bytes:
    assert isinstance(site, PostgresSite | RedisSite)
    server = site.database.server if isinstance(site, PostgresSite) else site.server
    return server.log_path.read_bytes()


@pytest.mark.parametrize("strategy", [Strategy.ALTERNATING, Strategy.DUAL])
def test_no_secret_is_seen_anywhere(
    strategy: Strategy, tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """Files, write-ahead log, streams with -vv, errors nobody foresaw, process lists, the server's own logs."""
    site = make_site(strategy)
    installation = install(tmp_path, site, drivers[0], settings=f", {PASSWORD}, keep_versions: 1000")
    watch = Watch()
    with ExitStack() as stack:
        monitor = stack.enter_context(monitored(site.server)) if isinstance(site, RedisSite) else None
        stack.enter_context(_write_ahead_log_kept(installation))
        told = {f"streams of {name}": f"{ended.out}\n{ended.err}" for name, ended in _everything(installation, watch)}
        found = files(installation.folder, without=HELD)
    haystacks = {
        **found,
        **{place: text.encode() for place, text in told.items()},
        "process lists": b"\n".join(watch.shown),
        "the log of the server": _server_log(site),
        "MONITOR": monitor.told if monitor else b"",
        "SLOWLOG": monitor.slow if monitor else b"",
    }
    secrets = _secrets(installation)
    print(f"{strategy}: {len(secrets)} secrets looked for in {len(haystacks)} places")
    assert len(secrets) >= 8
    _assert_places_are_what_they_seem(strategy, installation, haystacks)
    assert hits(secrets, haystacks) == []


def _assert_places_are_what_they_seem(
    strategy: Strategy, installation: Installation, haystacks: dict[str, bytes]
) -> None:
    """A search that finds nothing means something only where what was to be searched is there."""
    version = installation.rotations()[-1].candidate.encode()
    assert version in haystacks["work/state/events.db-wal"] + haystacks["work/state/events.db"]
    assert len(haystacks["work/state/events.db-wal"]) > 10_000
    assert SERVICE.encode() in haystacks["work/state/views.db"]
    assert b"RuntimeError" in haystacks["streams of broken before target.apply"]
    assert FORESEEN_BY_NOBODY.encode() not in haystacks["streams of broken before target.apply"]
    assert b"raised at" in haystacks["streams of broken before target.verify"]
    assert b"rotate\0app\0-vv" in haystacks["process lists"]
    if strategy is Strategy.DUAL:
        assert b'"HLEN"' in haystacks["MONITOR"]
        assert b"SETUSER" in haystacks["SLOWLOG"]
    else:
        log = haystacks["the log of the server"]
        assert b"statement: " in log
        verifiers = [each for kept in installation.site.in_force().values() for each in kept]
        assert verifiers
        assert not any(each.encode() in log for each in verifiers), "a verifier can be guessed at for ever"


def test_the_search_would_find_each_spelling(
    tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """The control: a value that was really made is found where it is published, and in every spelling of it."""
    installation = install(tmp_path, make_site(Strategy.DUAL), drivers[0], settings=f", {PASSWORD}")
    installation.done("rotate", SERVICE)
    secrets = {"current": installation.current().revealed()}
    assert "work/app.json: current (raw)" in hits(secrets, files(installation.folder))
    assert "work/app.env: current (raw)" in hits(secrets, files(installation.folder))
    assert not any(hit.startswith("work/secrets.kt") for hit in hits(secrets, files(installation.folder)))
    for kind, needle in spellings(secrets["current"]).items():
        planted = {"planted": b"something before " + needle + b" something behind"}
        assert f"planted: current ({kind})" in hits(secrets, planted)
    revealed = installation.done("secret", "get", SERVICE, "--reveal")
    assert hits(secrets, {"asked for": revealed.out.encode()})


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_a_secret_within_longer_base64_is_found(before: bytes) -> None:
    """Whatever stands before and behind it, one of the three offsets matches."""
    text = "canary-%&+/<>;=-0123456789-0123456789"
    for behind in (b"", b"z", b"zz"):
        whole = base64.b64encode(before + text.encode() + behind)
        assert any("base64" in hit for hit in hits({"it": text}, {"whole": whole}))
