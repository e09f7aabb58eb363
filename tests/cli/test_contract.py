"""What the command line promises, word for word: names, options, exit codes and fields that others rely on.

A name here is never taken away or given another meaning; adding one is free.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from adapters.cli.commands import CODES, COMMANDS, SHARED
from adapters.cli.program import program
from engine.errors import ExitCode
from engine.machine import State

COMMAND_OPTIONS = {
    "init": {"--force"},
    "demo": set(),
    "config check": set(),
    "config schema": set(),
    "config show": set(),
    "plan": {"--all"},
    "discover": set(),
    "rotate": {
        "--all",
        "--due",
        "--on-conflict",
        "--detach",
        "--timeout",
        "--wait-grace",
        "--new-value-file",
        "--dry-run",
        "--reason",
    },
    "rollback": {"--to", "--yes", "--force", "--dry-run", "--reason"},
    "resume": {"--timeout", "--wait-grace", "--dry-run"},
    "pause": {"--timeout", "--dry-run", "--reason"},
    "continue": {"--timeout", "--dry-run", "--reason"},
    "promote": {"--full", "--timeout", "--dry-run", "--reason"},
    "accept-inconclusive": {"--timeout", "--dry-run", "--reason"},
    "abort": {"--dry-run", "--reason"},
    "retry": {"--dry-run", "--reason"},
    "retire": {"--dry-run", "--reason"},
    "status": {"--watch"},
    "history": {"--since", "--until", "--status", "--limit"},
    "show": {"--at"},
    "replay": {"--until", "--step"},
    "secret get": {"--version", "--field", "--reveal"},
    "secret put": {"--username", "--value-file", "--dry-run"},
    "exec": {"--map"},
    "metrics": {"--textfile", "--push", "--format"},
    "audit verify": set(),
    "audit export": set(),
    "machine": {"--format"},
    "doctor": {"--repair", "--yes", "--dry-run", "--reason"},
    "simulate": {"--all", "--strategy", "--runs", "--seed", "--faults", "--story", "--refresh", "--jobs"},
    "adapters": set(),
}
"""Every command and the options that it has besides those that all share."""

SHARED_OPTIONS = {"--config", "--state", "--actor", "--json", "--no-color", "-v", "--verbose", "--help", "-h"}

CHOICES = {
    ("rotate", "--on-conflict"): ["reject", "queue", "replace", "concurrent"],
    ("secret get", "--field"): ["username", "password", "url"],
    ("metrics", "--format"): ["text", "openmetrics"],
    ("machine", "--format"): ["mermaid", "table", "json"],
    ("simulate", "--strategy"): ["single", "alternating", "dual", "issue", "script"],
}

EXIT_CODES = {
    "DONE": 0,
    "UNEXPECTED": 1,
    "USAGE": 2,
    "ROLLED_BACK": 3,
    "LOGIN_REFUSED": 4,
    "PERSON_NEEDED": 5,
    "REFUSED": 6,
    "RESTING": 7,
    "STILL_RUNNING": 8,
    "INTERRUPTED": 130,
}

OUTCOMES = {"completed", "rolled_back", "failed", "rollback_failed", "cancelled"}


def leaves(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be called, by its whole name."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


LEAVES = dict(leaves(program))


def options_of(command: click.Command) -> set[str]:
    """Return the names of all options of a command."""
    ctx = click.Context(command, help_option_names=["-h", "--help"])
    named = {name for option in command.get_params(ctx) for name in (*option.opts, *option.secondary_opts)}
    # click keeps the help option of the first context that asked for it, which may have called it otherwise.
    return named | set(command.get_help_option_names(ctx))


def test_no_command_was_taken_away() -> None:
    assert set(COMMAND_OPTIONS) <= set(LEAVES)
    assert list(COMMANDS) == program.list_commands(click.Context(program))


@pytest.mark.parametrize("name", COMMAND_OPTIONS)
def test_no_option_was_taken_away(name: str) -> None:
    assert COMMAND_OPTIONS[name] | SHARED_OPTIONS <= options_of(LEAVES[name])


@pytest.mark.parametrize("name", LEAVES)
def test_no_option_takes_a_secret(name: str) -> None:
    """What stands in an argument list is seen by every user of the machine."""
    taken = {option for option in options_of(LEAVES[name]) if not option.endswith("-file")}
    assert not {option for option in taken for word in ("password", "secret", "value", "token") if word in option}


@pytest.mark.parametrize(("name", "option"), CHOICES)
def test_no_choice_was_taken_away(name: str, option: str) -> None:
    (found,) = [each for each in LEAVES[name].params if option in each.opts]
    assert isinstance(found.type, click.Choice)
    assert list(found.type.choices) == CHOICES[name, option]


def test_to_reject_is_what_a_conflict_is_answered_with_by_default() -> None:
    (option,) = [each for each in LEAVES["rotate"].params if "--on-conflict" in each.opts]
    assert option.default == "reject"


def test_the_exit_codes_mean_what_they_always_meant() -> None:
    assert {code.name: code.value for code in ExitCode} == EXIT_CODES
    assert set(CODES) == set(EXIT_CODES.values())


def test_the_outcomes_are_states_of_the_machine() -> None:
    assert {state.value for state in State} >= OUTCOMES


def test_the_shared_options_stand_before_a_command_too() -> None:
    assert SHARED_OPTIONS - {"--help", "-h"} == {name for names, _, _ in SHARED.values() for name in names.split(", ")}
    assert options_of(program) >= {*SHARED_OPTIONS, "--version"}
