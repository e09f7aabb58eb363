"""The story that `keyturn demo` tells: seven acts on real servers, and an ending that leaves nothing behind.

Rule: what did not go as it should is said, and the demo ends with another code than 0.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from adapters.demo.acts import Acts
from adapters.demo.load import Load, Tally
from adapters.demo.narrator import Narrator, Output
from adapters.demo.scene import Program, Scene, furnish, open_scene, require
from engine.errors import ExitCode
from engine.values import Secret

SCHEMA: Final = "keyturn.demo/1"

_NEXT_STEPS: Final = """\
keyturn init            # a commented keyturn.yaml; put your own database into it
keyturn doctor          # tells what is missing before a rotation could work; changes nothing
keyturn rotate app-db   # and `keyturn rollback app-db` takes it back
"""


def run(output: Output, program: Program, *, interrupted: Callable[[], bool]) -> ExitCode:
    """Play the demo with `program`, the command line; return DONE where everything in it went as it should.

    Servers, folders and processes are gone afterwards, also where it is interrupted, which raises
    `KeyboardInterrupt`. Raises `ServerMissing`, `ServerFailed`, `DemoIncomplete`, `DemoBroken` and `ClientsStuck`.
    """
    require()
    began = time.monotonic()
    narrator = Narrator(output)
    narrator.title("keyturn demo: credentials of real servers, rotated while clients log in")
    narrator.act("A shop with a database and a cache")
    with open_scene(program) as scene:
        acts, total = play(scene, narrator, seconds=time.monotonic() - began, interrupted=interrupted)
    is_gone = not any(folder.exists() for folder in (scene.folder, scene.database.folder, scene.cache.folder))
    return _end(narrator, acts, total, seconds=time.monotonic() - began, is_gone=is_gone)


def play(
    scene: Scene, narrator: Narrator, *, seconds: float, interrupted: Callable[[], bool] = lambda: False
) -> tuple[Acts, Tally]:
    """Play the acts on servers that took `seconds` to start; return them with what all clients counted."""
    admin_password = Secret(secrets.token_urlsafe(24))
    furnish(scene, admin_password)
    acts = Acts(scene, narrator)
    acts.set_up(admin_password, seconds=seconds)
    with Load(scene.env_file) as acts.load:
        for act in (acts.clients, acts.rotate, acts.fail, acts.crash, acts.go_back, acts.look_back):
            if interrupted():
                raise KeyboardInterrupt
            act()
    return acts, acts.load.tally()


def _end(narrator: Narrator, acts: Acts, total: Tally, *, seconds: float, is_gone: bool) -> ExitCode:
    """Tell the totals and how to go on."""
    is_good = acts.is_good and is_gone and total.failed == 0
    counted = {"logins": total.logins, "refused": total.refused, "failed": total.failed}
    narrator.act("All in all")
    narrator.done(
        f"{acts.figures['rotations']} rotations, {total.logins} logins of the clients, {total.failed} failed,"
        f" in {seconds:.1f} s",
        good=total.failed == 0,
    )
    narrator.done("servers stopped, folders removed" if is_gone else "a folder of the demo is left", good=is_gone)
    if not is_good:
        narrator.done("not everything went as it should; see the crosses above", good=False)
    narrator.tell("Your own database next (docs/tutorial.md):")
    narrator.quote(_NEXT_STEPS)
    figures: dict[str, Any] = {"ok": is_good, "seconds": round(seconds, 3), **counted, **acts.figures}
    narrator.finish(SCHEMA, figures)
    return ExitCode.DONE if is_good else ExitCode.UNEXPECTED
