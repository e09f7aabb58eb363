"""The commands and the options that all share, as plain tables, and the help of the program as a whole.

Rule: imports nothing, so that `keyturn --help` costs little more than starting Python.
"""

from __future__ import annotations

COMMANDS = {
    "init": ("init:init", "Write a commented starter configuration, its key file and the state folder."),
    "demo": (
        "demo:demo",
        "Rehearse on a real server: rotate under load, break one rotation, see it go back; leaves nothing behind.",
    ),
    "config": ("config:config", "Check, show or describe the configuration."),
    "plan": ("plan:plan", "Show what a rotation would do, step by step, and what a crash at each step leads to."),
    "rotate": ("rotate:rotate", "Rotate the credential of one or several services."),
    "rollback": ("rollback:rollback", "Go back to the previous version, or to the one at an event (#41) or a time."),
    "resume": ("resume:resume", "Drive interrupted rotations on; without a name, every unfinished one."),
    "pause": ("pausing:pause", "Have a rotation rest before anybody, or anybody more, is given the new version."),
    "continue": ("pausing:go_on", "Let a paused rotation go on, or the next wave begin."),
    "promote": (
        "pausing:promote",
        "Pass what a rollout waits for now: the soak of a wave, its wait, its window, or an approval.",
    ),
    "accept-inconclusive": (
        "pausing:accept",
        "Let a rollout go on although its checks saw nothing; in this wave that is not asked again.",
    ),
    "abort": ("resume:abort", "Take an open rotation back, withdraw one that waits, or give up what cannot go back."),
    "retry": ("resume:retry", "Try a rollback, or the wave of a rollout, that failed again."),
    "retire": (
        "resume:retire",
        "End the grace period of a rotation now: the old version becomes unusable, and there is no way back.",
    ),
    "status": ("status:status", "Show each service: its state, its version, when it was rotated and when it is due."),
    "history": ("history:history", "List what has happened, oldest first."),
    "show": ("history:show", "Show one rotation, as it is or as it was after an event."),
    "replay": ("replay:replay", "Fold the log again, fact by fact, and print each with the state before and after it."),
    "secret": ("secret:secret", "Read a credential, or put a secret of your own into a store."),
    "exec": ("exec:execute", "Run a command with the current credential in its environment, and nowhere else."),
    "simulate": (
        "simulate:simulate",
        "Rehearse rotations of a service or a strategy in a simulated world that goes wrong; touches nothing.",
    ),
    "serve": (
        "serve:serve",
        "Run until stopped: begin rotations that are due, drive open ones, watch their health, and tell people.",
    ),
    "group": ("group:group", "Rotate groups of services together, take them back, and see how they stand."),
    "health": ("health:health", "Run the health checks of a service now, and show what they saw before."),
    "discover": ("instances:discover", "List the instances of a service, and the wave that each would be in."),
    "notify": ("notify:notify", "Try channels of notifications, and see what they were sent."),
    "metrics": ("metrics:metrics", "Print the metrics for Prometheus, write them to a file, or push them."),
    "audit": ("audit:audit", "Check the hash chain of the log, or write the log as JSON Lines."),
    "machine": ("machine:machine", "Print the state machine of a rotation: states, events, and what each leads to."),
    "doctor": (
        "doctor:doctor",
        "Check stores, targets, log and state, and look for drift; with --repair, settle it.",
    ),
    "adapters": (
        "machine:adapters",
        "List the kinds of targets, stores, channels, health checks, discovery and distribution that are installed.",
    ),
    "completion": ("completion:completion", "Print the script that completes commands in your shell."),
}
"""Name of a command, where it lives under adapters/cli, and what it does; the order is that of the help."""

SHARED = {
    "config": ("--config", "FILE", "The configuration (KEYTURN_CONFIG, or keyturn.yaml here)."),
    "state": ("--state", "PATH", "The state folder (KEYTURN_STATE, or `state:` in the configuration)."),
    "actor": ("--actor", "NAME", "Who is recorded as acting; your login name by default."),
    "json": ("--json", "", "Print JSON on stdout."),
    "no_color": ("--no-color", "", "No colour and no animation (NO_COLOR)."),
    "verbosity": ("-v, --verbose", "", "Say more; -vv shows where an error comes from."),
}
"""The options that stand before the name of a command or behind it: how they are written, and what they do."""

_OWN = {"--version": "Print the version.", "-h, --help": "Show this message, or that of a command."}

COMPLETE = "_KEYTURN_COMPLETE"
"""The variable by which a shell asks for completions."""

ABOUT = "Rotate live credentials without an outage, and never lose the last one that works."

CODES = {
    0: "done",
    1: "an unexpected error: a bug",
    2: "usage or configuration is wrong; nothing was changed",
    3: "failed, and safely back on the old credential",
    4: "the target, the store or a provider refused our own login, or is out of reach",
    5: "a person is needed now",
    6: "refused: another rotation is open, no such restore point, an illegal step",
    7: "resting until an operator decides",
    8: "still running, or waiting for its turn: when --timeout ended, with --detach, or in another process",
    130: "interrupted; the rotation can be resumed",
}
"""What the exit codes mean."""


def help_text() -> str:
    """Return the help of the program as a whole."""
    shared = {f"{names} {metavar}".strip(): line for names, metavar, line in SHARED.values()}
    commands = {name: line for name, (_, line) in COMMANDS.items()}
    sections: dict[str, dict[str, str] | dict[int, str]] = {
        "Commands": commands,
        "Options": {**shared, **_OWN},
        "Exit codes": CODES,
    }
    lines = ["Usage: keyturn [OPTIONS] COMMAND [ARGUMENTS]...", "", f"  {ABOUT}"]
    for title, rows in sections.items():
        width = max(len(str(head)) for head in rows)
        lines += ["", f"{title}:", *(f"  {str(head).ljust(width)}  {line}" for head, line in rows.items())]
    return "\n".join(lines)
