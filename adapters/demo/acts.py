"""The acts of the demo: each runs commands, looks at the servers, tells what it saw, and keeps the figures.

Rule 1: a command that is shown was run, with these arguments, and what is told of it was measured or answered by a
server; where something is not as it should be, it is told with a cross and `is_good` is false from there on.
Rule 2: connection URLs are held for a login and never shown or kept in the figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from textwrap import dedent
from typing import Any, Final

from adapters.demo.load import LOG_IN, VARIABLE, Load, Refused, published
from adapters.demo.narrator import Narrator
from adapters.demo.scene import DemoBroken, Outcome, Scene
from engine.errors import ExitCode
from engine.machine import State
from engine.process import EFFECTS
from engine.values import SECOND, Secret
from projections.times import from_text

_LOGINS_AN_ACT: Final = 10
"""Logins of every client that follow what an act did, before its figures are taken."""
_SHOWN_SECONDS_MIN: Final = 0.001
_POLL_SECONDS: Final = 0.01
_KILL_SECONDS_MAX: Final = 20.0
_WAITING: Final = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'stock'::regclass"
_TURNING_POINTS: Final = (
    "rotation-started",
    "current-changed",
    "rollback-started",
    "rollback-verified",
    "previous-retired",
)


class Acts:
    """The acts in order; `figures` grows with each. `load` is to be there from the second act on."""

    load: Load

    def __init__(self, scene: Scene, narrator: Narrator) -> None:
        self._scene = scene
        self._narrator = narrator
        self._commands: list[str] = []
        self._rotated = ""
        """The version of app-db that the second act made current."""
        self.is_good = True
        self.figures: dict[str, Any] = {"acts": []}

    def set_up(self, admin_password: Secret, *, seconds: float) -> None:
        """Configure keyturn for servers that took `seconds` to start, and take both credentials over."""
        scene, narrator = self._scene, self._narrator
        began = time.monotonic()
        narrator.done(
            f"PostgreSQL (port {scene.database.port}) and Redis (port {scene.cache.port}) started on 127.0.0.1"
            f" in {seconds:.1f} s, with data that goes with them"
        )
        self._run("init")
        narrator.tell("Its starter gives way to a keyturn.yaml with two services, app-db and cache:")
        narrator.quote(_excerpt(scene.configure()))
        narrator.tell("The passwords that keyturn itself logs in with go into its encrypted store:")
        self._put("admin/app-db", "keyturn", admin_password)
        self._put("admin/cache", "default", scene.cache.password)
        self._run("config", "check")
        narrator.tell("The first rotation makes the logins, and publishes them to app.env:")
        for document in self._run("rotate", "app-db", "cache").documents:
            narrator.done(f"{document['service']}: {document['version']} is current")
        self._keep("set_up", seconds + time.monotonic() - began, {})

    def clients(self) -> None:
        """Let the clients log in, while nothing is rotated."""
        self._narrator.act("Clients log in all the time")
        self._narrator.tell(
            "Two clients of each service: read app.env, open a fresh connection, run a query, and again."
        )
        with self._measured("clients"):
            pass

    def rotate(self) -> None:
        """Rotate both credentials under load, and retire what was there before."""
        self._narrator.act("Rotate both, while the clients log in")
        old = {service: self._url(service) for service in LOG_IN}
        with self._measured("rotate") as figures:
            documents = self._run("rotate", "app-db", "cache").documents
            figures["rotations"] = [self._told(document) for document in documents]
            self._rotated = documents[0]["version"]
            self._judge(
                "old and new work side by side: a fresh login with each succeeds",
                good=all(_lets_in(service, url) and self._seen(service) for service, url in old.items()),
            )
            self.load.wait_for(_LOGINS_AN_ACT)
            for service in LOG_IN:
                self._run("retire", service)
            self._judge(
                "the old ones are refused by the servers now",
                good=not any(_lets_in(service, url) for service, url in old.items()),
            )

    def fail(self) -> None:
        """Break a rotation at the server, and see it go back by itself."""
        narrator = self._narrator
        narrator.act("A rotation that cannot work goes back by itself")
        current = self._seen("app-db")
        following = "shop_b" if current == "shop_a" else "shop_a"
        with self._measured("fail") as figures, self._scene.administrator() as connection:
            narrator.tell(f"Somebody changes the login that is next: ALTER ROLE {following} CONNECTION LIMIT 0")
            connection.execute(f"ALTER ROLE {following} CONNECTION LIMIT 0".encode())
            document = self._run("rotate", "app-db", expected=ExitCode.ROLLED_BACK).document
            connection.execute(f"ALTER ROLE {following} CONNECTION LIMIT -1".encode())
            error = document["error"]
            narrator.done(f"{error['step']}: {error['message']}", good=False)
            narrator.tell(error["hint"])
            seconds = self._seconds_back(document["rotation_id"])
            self._judge(
                f"rolled back in {_spelt(seconds)}, a fresh login with {document['previous_version']} included",
                good=document["outcome"] == State.ROLLED_BACK,
            )
            self._judge(f"app.env still leads to {current}", good=self._seen("app-db") == current)
            figures |= {"outcome": document["outcome"], "error": error, "rollback_seconds": seconds}

    def crash(self) -> None:
        """Kill the program in the middle of a rotation, and resume it."""
        narrator = self._narrator
        narrator.act("keyturn is killed in the middle of a rotation, and resumes")
        before = self._seen("app-db")
        with self._measured("crash") as figures:
            narrator.tell("(Its verification waits for a lock on a table meanwhile, so that there is time to hit it.)")
            self._note("rotate", "app-db")
            self._kill_in_verification()
            state = self._run("status", "app-db").document["services"][0]["state"]
            narrator.done(f"SIGKILL: the new login is made and not yet current; the log says `{state}`")
            self._judge(f"app.env still leads to {before}", good=self._seen("app-db") == before)
            self.load.wait_for(_LOGINS_AN_ACT)
            staged = self._held("pending")
            document = self._run("resume", "app-db").document
            self._judge(
                f"{document['version']}, which was staged before the kill, is current", good=self._held() == staged
            )
            after = self._seen("app-db")
            self._judge(f"app.env leads to {after}", good=after not in ("", before))
            figures |= {"state_when_killed": state, "state_when_resumed": document["state"]}

    def go_back(self) -> None:
        """End the grace period, and go back to what was current at an earlier event."""
        self._narrator.act("Back to what was current at an earlier event")
        event = next(
            each for each in self._events("app-db") if _is(each, "current-changed") and each["version"] == self._rotated
        )
        # Nothing is left valid behind a rollback, so a client may be refused once with what it has just read.
        with self._measured("go_back", refusals=True) as figures:
            self._run("retire", "app-db")
            self._narrator.tell(f"At event #{event['position']}, {self._rotated} became current (act 3).")
            document = self._run("rollback", "app-db", "--to", str(event["position"]), "--yes").document
            figures["rotations"] = [self._told(document)]
            self._judge(
                f"a fresh login as {self._seen('app-db') or 'nobody'} succeeds, and {self._held()} is current",
                good=self._held() == self._rotated and self._seen("app-db") != "",
            )

    def look_back(self) -> None:
        """Show the turning points of the history, and check the log."""
        narrator = self._narrator
        narrator.act("What the log says")
        began = time.monotonic()
        events = self._run("history").document["events"]
        narrator.tell("The turning points:")
        narrator.table(
            ("#", "AT", "SERVICE", "EVENT", "VERSION", "CURRENT"),
            [
                (
                    f"#{each['position']}",
                    each["at"][11:19],
                    each["service"],
                    each["event"].partition(".")[0].replace("-", " "),
                    each["version"] or "-",
                    each["current"] or "-",
                )
                for each in events
                if _is(each, *_TURNING_POINTS)
            ],
        )
        audit = self._run("audit", "verify").document
        self._judge(
            f"{audit['events']} events, each chained to the one before by its hash: all as written", good=audit["ok"]
        )
        self.figures["rotations"] = sum(_is(each, "rotation-started") for each in events)
        self.figures["audit"] = {key: audit[key] for key in ("events", "ok", "head_hash")}
        self._keep("look_back", time.monotonic() - began, {})

    # --- commands -----------------------------------------------------------------------------------------

    def _note(self, *arguments: str) -> None:
        self._commands.append(" ".join(("keyturn", *arguments)))
        self._narrator.command(*arguments)

    def _run(self, *arguments: str, expected: ExitCode = ExitCode.DONE) -> Outcome:
        self._note(*arguments)
        return self._scene.keyturn(*arguments, expected=expected)

    def _put(self, path: str, username: str, password: Secret) -> None:
        self._note("secret", "put", "local", path, "--username", username, "--value-file", "FILE")
        self._scene.put(path, username, password)

    def _events(self, service: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self._scene.keyturn("history", service).document["events"]
        return events

    def _held(self, label: str = "current") -> str:
        return str(self._scene.keyturn("secret", "get", "app-db", "--version", label).document["version"])

    def _kill_in_verification(self) -> None:
        """Start a rotation in a process of its own, and kill it where its new login runs the verification query."""
        limit = time.monotonic() + _KILL_SECONDS_MAX
        with (
            self._scene.administrator() as connection,
            connection.transaction(),
            self._scene.process("rotate", "app-db") as child,
        ):
            connection.execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")
            while connection.execute(_WAITING).fetchone() == (0,):
                if child.poll() is not None or time.monotonic() > limit:
                    raise DemoBroken(what="the rotation did not come to its verification")
                time.sleep(_POLL_SECONDS)
            child.kill()
            child.wait()

    # --- what is seen -------------------------------------------------------------------------------------

    def _url(self, service: str) -> str:
        return published(self._scene.env_file, VARIABLE[service])

    def _seen(self, service: str) -> str:
        """Return who is let in afresh with what is published now; empty where nobody is."""
        try:
            return LOG_IN[service](self._url(service))
        except Refused:
            return ""

    def _told(self, document: dict[str, Any]) -> dict[str, Any]:
        """Tell the steps of a rotation with their times, from the log; return them as figures."""
        steps = self._steps(document["service"], document["rotation_id"])
        total = sum(steps.values())
        # A step without work of its own, such as a rollout to no instances, is left out.
        listed = " · ".join(f"{name} {_spelt(each)}" for name, each in steps.items() if each >= _SHOWN_SECONDS_MIN)
        self._narrator.done(
            f"{document['service']}: {document['previous_version']} → {document['version']} in {_spelt(total)}"
        )
        self._narrator.quote(listed)
        kept = {key: document[key] for key in ("service", "kind", "strategy", "state", "version", "previous_version")}
        return {**kept, "seconds": round(total, 3), "steps": {name: round(each, 3) for name, each in steps.items()}}

    def _steps(self, service: str, rotation_id: str) -> dict[str, float]:
        """Return the seconds that a rotation spent on each step, without its grace period."""
        mine = [each for each in self._events(service) if each["rotation_id"] == rotation_id and each["state"]]
        steps: dict[str, float] = {}
        for each, following in pairwise(mine):
            state = State(each["state"])
            if state is not State.GRACE:
                name = EFFECTS[state].value
                steps[name] = steps.get(name, 0.0) + _between(each, following)
        return steps

    def _seconds_back(self, rotation_id: str) -> float:
        """Return the seconds from the decision to go back to the proof that the old version works."""
        mine = [each for each in self._events("app-db") if each["rotation_id"] == rotation_id]
        started, verified = (
            next(each for each in mine if _is(each, name)) for name in ("rollback-started", "rollback-verified")
        )
        return _between(started, verified)

    # --- figures ------------------------------------------------------------------------------------------

    @contextmanager
    def _measured(self, act: str, *, refusals: bool = False) -> Iterator[dict[str, Any]]:
        """Count what the clients do during the block, and for some logins after it; tell it and keep it."""
        before, began = self.load.tally(), time.monotonic()
        figures: dict[str, Any] = {}
        yield figures
        self.load.wait_for(_LOGINS_AN_ACT)
        tally, seconds = self.load.tally() - before, time.monotonic() - began
        again = f" ({tally.refused} refused once, and let in with what app.env said then)" if tally.refused else ""
        self._judge(
            f"{tally.logins} logins of the clients in {seconds:.1f} s, {tally.failed} failed{again}",
            good=tally.failed == 0 and (refusals or tally.refused == 0),
        )
        counted = {"logins": tally.logins, "refused": tally.refused, "failed": tally.failed}
        self._keep(act, seconds, {**counted, **figures})

    def _keep(self, act: str, seconds: float, figures: dict[str, Any]) -> None:
        commands, self._commands = self._commands, []
        self.figures["acts"].append({"act": act, "seconds": round(seconds, 3), "commands": commands, **figures})

    def _judge(self, text: str, *, good: bool) -> None:
        self.is_good = self.is_good and good
        self._narrator.done(text if good else f"NOT so: {text}", good=good)


def _excerpt(configuration: str) -> str:
    """Return what the configuration says about the first service."""
    _, start, rest = configuration.partition("  app-db:")
    return dedent(f"{start}{rest.partition('  cache:')[0].rstrip()}")


def _lets_in(service: str, url: str) -> bool:
    try:
        LOG_IN[service](url)
    except Refused:
        return False
    return True


def _is(event: dict[str, Any], *names: str) -> bool:
    return event["event"].partition(".")[0] in names


def _between(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    return (from_text(later["at"]) - from_text(earlier["at"])) / SECOND


def _spelt(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
