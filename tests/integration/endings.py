"""The endings that need a person, each brought about through the command line; no tests here."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.machine import State
from engine.values import Instant
from tests.cli.program import Done, Folder

SERVICE: Final = "app-db"


@dataclass(frozen=True)
class Ending:
    """A rotation that rests, what the command that led there printed, and how the cause is taken away."""

    folder: Folder
    state: State
    told: Done
    mend: Callable[[Folder], None]

    @property
    def document(self) -> dict[str, Any]:
        """The document that was printed there."""
        return self.told.document

    @property
    def rotation_id(self) -> str:
        """The rotation that rests."""
        return str(self.document["rotation_id"])

    def copied(self, to: Path) -> Ending:
        """Return the same in another folder, the cause taken away."""
        shutil.copytree(self.folder.path, to)
        folder = Folder(to, self.folder.forking)
        self.mend(folder)
        return Ending(folder, self.state, self.told, self.mend)

    def now(self) -> dict[str, Any]:
        """Return the rotation as it is by now."""
        return self.folder.ok("show", self.rotation_id, "--json").document

    def named(self, printed: str) -> list[list[str]]:
        """Return the commands that a text names, as arguments; what asks first is told yes."""
        found = re.findall(rf"keyturn ([a-z]+) ({self.rotation_id}|{SERVICE})\b", printed)
        return [[name, which, *(["--yes"] if name == "rollback" else [])] for name, which in dict.fromkeys(found)]


def configure(
    folder: Folder, *, strategy: str = "single", faults: str = "", more: str = "", by_itself: bool = True
) -> None:
    """Write the configuration; without `by_itself` nothing is taken back unless a person says so."""
    folder.configure(SERVICE, strategy=strategy, faults=faults, more=more)
    if not by_itself:
        folder.config.write_text(folder.config.read_text().replace("max_retries: 0", "automatic: false"))


def mended(**options: Any) -> Callable[[Folder], None]:
    """Return what writes the same configuration without faults."""
    return lambda folder: configure(folder, **options)


def paused(folder: Folder) -> Ending:
    """Rest before anybody was given the new version."""
    configure(folder)
    folder.settled(SERVICE)
    folder.run("rotate", SERVICE, "--detach")
    return Ending(folder, State.PAUSED, folder.run("pause", SERVICE, "--reason", "lunch", "--json"), mended())


def rollback_failed(folder: Folder) -> Ending:
    """Have the new version fail its verification, and going back refused."""
    configure(folder)
    folder.settled(SERVICE)
    configure(folder, faults="fail_verification, reject_restore")
    return Ending(folder, State.ROLLBACK_FAILED, folder.run("rotate", SERVICE, "--json"), mended())


def rollback_failed_under_lockout(folder: Folder) -> Ending:
    """The same at a target that locks a login after some wrong ones."""
    more = "    lockout_after: 20\n"
    configure(folder, more=more)
    folder.settled(SERVICE)
    configure(folder, faults="fail_verification, reject_restore", more=more)
    told = folder.run("rotate", SERVICE, "--json")
    return Ending(folder, State.ROLLBACK_FAILED, told, mended(more=more))


def failed_half_way(folder: Folder) -> Ending:
    """Have the new version fail its verification, where going back by itself is off."""
    configure(folder)
    folder.settled(SERVICE)
    configure(folder, faults="fail_verification", by_itself=False)
    return Ending(folder, State.FAILED, folder.run("rotate", SERVICE, "--json"), mended())


def failed_half_way_with_two_values(folder: Folder) -> Ending:
    """The same where old and new stay valid, and the login has no room for a third."""
    configure(folder, strategy="dual")
    folder.settled(SERVICE)
    configure(folder, strategy="dual", faults="fail_verification", by_itself=False)
    return Ending(folder, State.FAILED, folder.run("rotate", SERVICE, "--json"), mended(strategy="dual"))


def failed_without_changes(folder: Folder) -> Ending:
    """Have the target refuse the new version."""
    configure(folder)
    folder.settled(SERVICE)
    configure(folder, faults="reject_apply")
    return Ending(folder, State.FAILED, folder.run("rotate", SERVICE, "--json"), mended())


def in_doubt(folder: Folder) -> Ending:
    """Lose the answer to the change, then the target itself, so that nothing can be settled."""
    more = "    retry: never_repeat\n"
    configure(folder, more=more)
    folder.settled(SERVICE)
    configure(folder, faults="lose_apply_reply", more=more)
    waiting = folder.run("rotate", SERVICE, "--timeout", "1ms", "--json")
    waiting.refused(8, "Whether the target took the change is not known yet", "keyturn resume")
    configure(folder, faults="unavailable", more=more)
    return Ending(folder, State.ROLLBACK_FAILED, folder.run("resume", SERVICE, "--json"), mended(more=more))


def failed_in_doubt(folder: Folder) -> Ending:
    """The same where going back by itself is off."""
    more = "    retry: never_repeat\n"
    configure(folder, more=more)
    folder.settled(SERVICE)
    configure(folder, faults="lose_apply_reply", more=more, by_itself=False)
    folder.run("rotate", SERVICE, "--timeout", "1ms")
    configure(folder, faults="unavailable", more=more, by_itself=False)
    return Ending(folder, State.FAILED, folder.run("resume", SERVICE, "--json"), mended(more=more))


def never_retired(folder: Folder) -> Ending:
    """Have the target keep the old version."""
    configure(folder, strategy="dual")
    folder.settled(SERVICE)
    folder.ok("rotate", SERVICE)
    configure(folder, strategy="dual", faults="keep_retired")
    return Ending(folder, State.RETIRING, folder.run("retire", SERVICE, "--json"), mended(strategy="dual"))


def no_way_back(folder: Folder) -> Ending:
    """Revoke the key before at the target, which cannot bring it back."""
    configure(folder, strategy="issue")
    folder.ok("rotate", SERVICE)
    folder.ok("retire", SERVICE)
    before = folder.ok("rotate", SERVICE, "--json").document["previous_version"]
    wiring = folder.wiring()
    old = wiring.held_in(SERVICE).read(f"default/{SERVICE}", before)
    soon = Instant(time.time_ns() // 1_000 + 10_000_000)
    wiring.target(SERVICE).retire(old, keep=None, tag="by hand", deadline=soon)
    told = folder.run("abort", SERVICE, "--json")
    return Ending(folder, State.ROLLBACK_FAILED, told, mended(strategy="issue"))


ENDINGS: Final[dict[str, Callable[[Folder], Ending]]] = {
    made.__name__: made
    for made in (
        paused,
        rollback_failed,
        rollback_failed_under_lockout,
        failed_half_way,
        failed_half_way_with_two_values,
        failed_without_changes,
        no_way_back,
        in_doubt,
        failed_in_doubt,
        never_retired,
    )
}
"""Every ending by its name."""

OF_STATE: Final = {
    State.PAUSED: paused,
    State.ROLLBACK_FAILED: rollback_failed,
    State.FAILED: failed_half_way,
}
"""An ending for each state that rests until a person decides."""
