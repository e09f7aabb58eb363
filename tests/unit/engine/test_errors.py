"""Errors say what is wrong in a sentence, which exit code follows, and what to do next."""

from __future__ import annotations

import pytest

from engine import errors
from engine.errors import (
    Conflict,
    ExitCode,
    Fenced,
    IllegalCommand,
    InGrace,
    KeyturnError,
    OwnLoginRejected,
    PortError,
    Rejected,
    RotationOpen,
    SinkGone,
    StillInUse,
    Throttled,
    Unavailable,
    Uncertain,
)


def test_the_message_is_the_docstring_filled_with_the_fields() -> None:
    error = RotationOpen(service="app-db", environment="production", rotation_id="r-1", state="applying", details="")
    assert error.message == str(error) == "app-db (production) already has an open rotation, r-1, which is applying."
    assert error.advice.startswith("keyturn resume r-1 drives it on; keyturn show r-1")
    assert error.exit_code is ExitCode.REFUSED


def test_only_the_first_paragraph_is_the_message() -> None:
    """What follows it in the docstring is for who reads the code."""
    error = Unavailable(what="setting the password", why="no answer")
    assert error.message == "setting the password: no answer."


def test_an_advice_that_is_given_takes_the_place_of_the_hint() -> None:
    """The adapter knows best what to look at."""
    assert OwnLoginRejected(what="a", why="b").advice.startswith("Check the admin credentials")
    assert OwnLoginRejected(what="a", why="b", advice="Renew the token.").advice == "Renew the token."
    assert Rejected(what="a", why="b").advice == ""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable, "unavailable"),
        (StillInUse, "still_in_use"),
        (Rejected, "rejected"),
        (OwnLoginRejected, "own_login_rejected"),
        (Uncertain, "uncertain"),
        (InGrace, "in_grace"),
    ],
)
def test_the_kind_is_the_name_in_small_letters(error: type[KeyturnError], kind: str) -> None:
    """It stands in the log as the kind of a cause."""
    assert error.kind == kind


def test_an_outcome_keeps_what_and_why_apart() -> None:
    error = Uncertain(what="setting the password", why="no answer in 5 s")
    assert (error.what, error.why, error.fields["what"]) == (error.fields["what"], "no answer in 5 s", error.what)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyturnError, 1),
        (Unavailable, 4),
        (StillInUse, 4),
        (Rejected, 4),
        (OwnLoginRejected, 4),
        (Uncertain, 5),
        (Throttled, 4),
        (SinkGone, 4),
        (errors.NoWayBack, 5),
        (errors.NoRoom, 6),
        (IllegalCommand, 6),
        (RotationOpen, 6),
        (InGrace, 6),
        (Conflict, 6),
        (Fenced, 6),
        (errors.OwnedElsewhere, 6),
        (errors.NoRestorePoint, 6),
        (errors.NoSuchPosition, 6),
        (errors.NoSuchService, 2),
        (errors.NoSuchGroup, 2),
        (errors.GroupIllegal, 6),
        (errors.GroupOpen, 6),
        (errors.NoSuchRotation, 2),
        (errors.StrategyImpossible, 2),
        (errors.UnsupportedEvent, 2),
    ],
)
def test_every_error_has_its_exit_code(error: type[KeyturnError], code: int) -> None:
    """Callers rely on the numbers."""
    assert error.exit_code == code


def test_the_table_of_exit_codes_is_complete() -> None:
    """An error that is added here needs its line above."""
    named = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KeyturnError)}
    (marker,) = [m for m in test_every_error_has_its_exit_code.pytestmark if m.name == "parametrize"]  # type: ignore[attr-defined]
    assert named - {PortError} == {error for error, _ in marker.args[1]}


def test_an_error_without_a_docstring_is_named_by_its_class() -> None:
    class Bare(KeyturnError):
        __doc__ = None

    assert Bare().message == "Bare"
