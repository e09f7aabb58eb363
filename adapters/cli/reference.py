"""The reference pages of the command line and of the errors, made from the program itself.

Rule: not a word about an option or an error stands here that the program does not say itself.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Final

import click

from adapters.cli.commands import CODES, SHARED
from adapters.cli.program import NAME, program
from engine.errors import KeyturnError

FIELDS: Final[dict[str, tuple[str, str]]] = {
    "keyturn.rotation/1": (
        "rotate, rollback, resume, pause, continue, promote, accept-inconclusive, abort, retry, retire, show",
        (
            "rotation_id, service, environment, kind, strategy, state, outcome, version, previous_version, started_at, "
            "ended_at, duration_seconds, actor, reason, error {step, kind, message, hint}, not_before, events, waves, "
            "rollout {instances, moved, returned, gone, unverified, unverified_max, wave, outstanding, soak_until, "
            "held_until, held_for, paused, waves [{index, instances, moved, percentage, canary, state}]}, "
            "health [{check, result, at, failures, unknowns, text}], "
            "known [{version, accepted, stored_in}]"
        ),
    ),
    "keyturn.conflict/1": (
        "rotate, where another rotation of the credential is in the way",
        (
            "service, environment, rotation_id, state, step, holder, started_at, age_seconds, "
            "error {step, kind, message, hint}"
        ),
    ),
    "keyturn.status/1": (
        "status",
        (
            "services [{service, environment, state, version, rotation_id, waiting, last_rotated_at, last_outcome, "
            "due_at, restore_points, grace_until, error, rollout, next, unheard}]"
        ),
    ),
    "keyturn.history/1": (
        "history",
        (
            "events [{position, id, at, service, environment, rotation_id, event, state, version, current, actor, "
            "reason, restorable, hash}]"
        ),
    ),
    "keyturn.replay/1": ("replay (a line a fact)", "position, event, before, after, data"),
    "keyturn.secret/1": ("secret get", "service, environment, version, username, password (null without --reveal)"),
    "keyturn.plan/1": (
        "plan, rotate --dry-run",
        (
            "service, strategy, overlap, blast_radius {logins, store, places; with instances also instances and "
            "unverified_max (instances, of, percentage)}, steps [{effect, description, on_crash}], waves [{index, "
            "instances, percentage, canary, soak_seconds, wait_seconds, blast_radius (instances, of, percentage, "
            "zones)}], refused"
        ),
    ),
    "keyturn.simulation/1": (
        "simulate",
        (
            "service (null with --strategy), strategy, runs, seed, violations [{invariant, message, seed, runs, steps, "
            "next}], endings, locked_out_seconds, refresh_seconds, coverage {transitions and faults, each with covered "
            "and total}, seconds (with --story steps as well)"
        ),
    ),
    "keyturn.audit/1": ("audit verify", "events, ok, first_bad_position, head_hash"),
    "keyturn.event/1": (
        "audit export (a line an event)",
        "position, id, version, at, actor, tag, state, data, bytes, hash",
    ),
    "keyturn.config/1": (
        "config check",
        "file, ok, problems [{file, line, column, key, message, hint}], notes (likewise)",
    ),
    "keyturn.effective/1": ("config show", "version, state, lease, metrics, secretStores, services"),
    "keyturn.metrics/1": ("metrics", "metrics [{name, type, help, samples [{name, labels, value}]}]"),
    "keyturn.health/1": (
        "health",
        (
            "service, environment, checks [{check, result, value, unit, duration_seconds, text, "
            "last (at, result, value, streak, rotation_id, history), sparkline}]"
        ),
    ),
    "keyturn.instances/1": (
        "discover",
        "service, environment, instances [{id, zone, endpoint, labels, canary, wave}], remarks",
    ),
    "keyturn.notify/1": ("notify test", "channel, key, enabled"),
    "keyturn.preview/1": ("notify preview", "channel, position, goes, key, type, bodies"),
    "keyturn.outbox/1": (
        "notify outbox",
        (
            "channels [{channel, state, waiting, delivered, given_up, blocked, dropped, delivered_at, not_before, "
            "error (kind, message)}], notices [{position, channel, state, kind, text, at, service, environment, "
            "attempts, reason}]"
        ),
    ),
    "keyturn.route/1": ("notify route", "routes [{service, event, critical, channels}]"),
    "keyturn.doctor/1": (
        "doctor",
        (
            "ok, findings [{subject, severity, message, hint; of a service also seen (rotation, log, store, target, "
            "places) and repair (step, version, does, why, done)}]"
        ),
    ),
    "keyturn.machine/1": ("machine", "states, transitions [{event, from, to}], resting, ended"),
    "keyturn.adapters/1": ("adapters", "adapters [{kind, type, summary, extra, strategies}]"),
}
"""Every JSON document: the commands that print it with --json, and its fields."""

_INTRODUCTION: Final = """
Data goes to stdout, everything else to stderr. Errors take three lines at most: what is wrong, where, what to do
next. Nothing prompts without a terminal; no secret is taken from an option.
"""


def markdown() -> str:
    """Return docs/reference/cli.md."""
    shared = [f"| `{f'{names} {metavar}'.strip()}` | {line} |" for names, metavar, line in SHARED.values()]
    codes = [f"| {code} | {line} |" for code, line in CODES.items()]
    documents = [f"| `{schema}` | {commands} | {fields} |" for schema, (commands, fields) in FIELDS.items()]
    lines = [
        "# The command line",
        _INTRODUCTION,
        "## Options that every command has",
        "",
        "Before its name or behind it.",
        "",
        *_table("option", "what it does", shared),
        "## Exit codes",
        "",
        *_table("code", "means", codes),
        "## Commands",
        "",
        *(line for name, command in leaves() for line in _command(name, command)),
        "## JSON",
        "",
        "With `--json` a command prints one document on one line, or a line a document where it has several. Fields",
        "are added, and never taken away or given another meaning, without a new number behind the name.",
        "",
        "| schema | printed by | fields |",
        "|---|---|---|",
        *documents,
    ]
    return "\n".join(lines) + "\n"


def leaves(group: click.Group = program, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be called, by its whole name, in the order of the help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix}{name} ")
        elif command is not None:
            yield f"{prefix}{name}", command


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"{NAME} {name}")
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    shared = {one for names, _, _ in SHARED.values() for one in names.split(", ")}
    rows = []
    for option in command.params:
        record = None if shared & set(option.opts) else option.get_help_record(context)
        if record is not None:
            option_cell, line_cell = (" ".join(text.split()).replace("|", r"\|") for text in record)
            rows.append(f"| `{option_cell}` | {line_cell} |")
    yield from (f"### `{NAME} {name}`", "", "```", usage, "```", "")
    for paragraph in (command.help or "").split("\n\n"):
        yield from (" ".join(paragraph.split()), "")
    if command.epilog:
        yield from (command.epilog, "")
    if rows:
        yield from _table("option", "what it does", rows)


def _table(first: str, second: str, rows: list[str]) -> list[str]:
    return [f"| {first} | {second} |", "|---|---|", *rows, ""]


def errors() -> str:
    """Return docs/reference/errors.md."""
    rows = [f"| {kind.exit_code.value} | `{kind.kind}` | {_message(kind)} | {kind.hint} |" for kind in catalogue()]
    lines = [
        "# Errors",
        "",
        "What keyturn says when something is wrong, by exit code. What stands in braces is filled in; a port (a",
        "store, a target) says what it tried and why it failed in its own words.",
        "",
        "| code | kind | message | what to do |",
        "|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def catalogue() -> list[type[KeyturnError]]:
    """Return every error that keyturn can name, by exit code and kind; imports every module of the program."""
    for package in ("engine", "projections", "adapters"):
        found = import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            import_module(module.name)
    every: list[type[KeyturnError]] = []
    waiting = [KeyturnError]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        every += [kind for kind in kinds if kind.__module__.split(".")[0] in {"engine", "projections", "adapters"}]
    return sorted(set(every), key=lambda kind: (kind.exit_code, kind.kind))


def _message(kind: type[KeyturnError]) -> str:
    text = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split()).replace("|", r"\|")
