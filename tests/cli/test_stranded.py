"""An open rotation is never lost sight of, whatever becomes of its service in the configuration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.program import Folder

pytestmark = pytest.mark.slow

EDITS: dict[str, Callable[[str], str]] = {
    "renamed": lambda text: text.replace("app-db:", "new-db:", 1),
    "moved": lambda text: text.replace("type: memory", "type: memory\n    environment: staging", 1),
    "removed": lambda text: text[: text.index("\n  app-db:")] + text[text.index("\n  other:") :],
}


def detached(folder: Folder) -> str:
    """Open a rotation of a service beside another one, and return its id."""
    folder.configure("app-db", "other")
    rotation_id: str = folder.run("rotate", "app-db", "--detach", "--json").document["rotation_id"]
    return rotation_id


@pytest.mark.parametrize("edit", EDITS)
def test_an_open_rotation_whose_service_is_gone_is_named(folder: Folder, edit: str) -> None:
    """Exit 2 with and without a name, by every command; put back, it goes on."""
    rotation_id = detached(folder)
    text, before = folder.config.read_text(), folder.head()
    folder.config.write_text(EDITS[edit](text))
    for command in (["resume"], ["resume", "--dry-run"], ["resume", rotation_id], ["resume", rotation_id[:6]]):
        folder.run(*command).refused(2, rotation_id, "app-db (default)", "Put the service back")
    for name in ("resume", "abort", "retry", "retire"):
        folder.run(name, "app-db").refused(2, rotation_id)
    assert folder.head() == before
    folder.config.write_text(text)
    assert folder.ok("resume", "--json").document["rotation_id"] == rotation_id


def test_what_can_be_driven_is_driven_beside_it(folder: Folder) -> None:
    """The worst code wins, and the other service is rotated to its end."""
    rotation_id = detached(folder)
    folder.run("rotate", "other", "--detach")
    text = folder.config.read_text()
    folder.config.write_text(EDITS["removed"](text))
    done = folder.run("resume", "--json")
    done.refused(2, rotation_id)
    assert (done.document["service"], done.document["state"]) == ("other", "completed")
    assert "nothing is unfinished" not in done.err


def test_views_that_are_broken_stop_no_rotation(folder: Folder) -> None:
    """What is configured is driven; that the rest could not be looked for is said."""
    detached(folder)
    (folder.state / "views.db").write_bytes(b"no database")
    done = folder.run("resume", "--json")
    assert (done.document["state"], done.code) == ("completed", 5)
    assert "views.db" in done.err
    (folder.state / "views.db").unlink()


def test_a_name_that_nobody_knows_is_no_rotation(folder: Folder) -> None:
    detached(folder)
    folder.run("resume", "no-such").refused(2, "There is no rotation 'no-such'")
    folder.run("resume", "").refused(2, "There is no rotation ''")
