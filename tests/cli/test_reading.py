"""The commands that only read: what they print, for people and as JSON; nothing is appended by them."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from adapters.cli.commands import COMMANDS, help_text
from adapters.cli.reference import FIELDS
from adapters.quick_status import VIEWS_FILE
from tests.cli.forking import Forking
from tests.cli.program import Folder

pytestmark = pytest.mark.slow


@pytest.fixture
def rotated(folder: Folder) -> Folder:
    """A folder whose service was rotated twice; the second rotation is in grace."""
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    return folder


def test_status_says_the_same_by_the_quick_way_and_the_long_way(rotated: Folder) -> None:
    """Without views, and with another spelling of the command, the answer is equal."""
    quick = rotated.ok("status", "--json").document
    assert list(quick) == ["schema", "services"]
    (entry,) = quick["services"]
    assert {
        "service",
        "environment",
        "state",
        "version",
        "rotation_id",
        "last_rotated_at",
        "last_outcome",
        "due_at",
    } <= set(entry)
    assert (entry["service"], entry["state"], len(entry["restore_points"])) == ("app-db", "grace", 1)
    for path in rotated.state.glob("views.db*"):
        path.unlink()
    assert rotated.ok("--json", "status", "app-db").document == quick


def test_status_lists_what_was_never_rotated(folder: Folder) -> None:
    assert "never_rotated" in folder.ok("status").out


def test_a_service_whose_first_rotation_went_back_is_still_due(folder: Folder) -> None:
    """It has no version, so it was never rotated, however that ended."""
    folder.configure("app-db", faults="fail_verification")
    folder.run("rotate", "app-db").refused(3, "safely back on what was there before")
    (entry,) = folder.ok("status", "--json").document["services"]
    assert (entry["state"], entry["version"], entry["last_outcome"]) == ("never_rotated", None, "rolled_back")
    folder.configure("app-db")
    assert folder.ok("rotate", "--due", "--json").document["state"] == "completed"


@pytest.mark.parametrize("before", ["", "# a fleet\n" * 200_000], ids=["small", "2 MB"])
def test_status_follows_a_state_that_the_configuration_names(folder: Folder, before: str) -> None:
    """`state:` is honoured by the quick way too, where no option and no variable names one, wherever it stands."""
    text = folder.config.read_text()
    folder.config.write_text(text.replace("version: 1", f"version: 1\n{before}state: ./state"))
    version = folder.settled("app-db")["version"]
    assert version in folder.run("status", KEYTURN_STATE="").out


def test_when_services_are_due_is_told_anew_only_where_that_has_changed(folder: Folder) -> None:
    """A daemon brings the views up every second: with a fleet in monitoring it would do little else."""
    folder.ok("rotate", "app-db")
    assert told_when_due(folder) == 1
    with closing(sqlite3.connect(folder.state / VIEWS_FILE)) as views, views:
        views.execute("DELETE FROM configured")
    folder.run("rotate", "app-db", "--detach").refused(8, "still staging")
    assert told_when_due(folder) == 0
    folder.ok("resume", "app-db")
    assert told_when_due(folder) == 1


def told_when_due(folder: Folder) -> int:
    """Return of how many services the views know when they are due."""
    with closing(sqlite3.connect(folder.state / VIEWS_FILE)) as views:
        (count,) = views.execute("SELECT COUNT(*) FROM configured").fetchone()
    return int(count)


def test_history_is_oldest_first_and_its_positions_are_those_of_the_log(rotated: Folder) -> None:
    events = rotated.ok("history", "app-db", "--json").document["events"]
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    wanted = ["position", "id", "at", "service", "environment", "rotation_id", "event", "state", "version"]
    assert [name for name in events[0] if name in wanted] == wanted
    assert {"actor", "reason", "restorable", "hash"} <= set(events[0])
    newest = rotated.ok("history", "--limit", "2", "--json").document["events"]
    assert [event["position"] for event in newest] == [len(events) - 1, len(events)]
    assert len(rotated.ok("history", "--status", "grace", "--json").document["events"]) == 2
    assert rotated.ok("history", "--since", "2999-01-01", "--json").document["events"] == []
    assert "candidate-verified" in rotated.ok("history").out


def test_show_tells_a_rotation_as_it_is_and_as_it_was(rotated: Folder) -> None:
    now = rotated.ok("show", "app-db", "--json").document
    assert now["state"] == "grace"
    events = rotated.ok("history", "--json").document["events"]
    staged = next(e for e in reversed(events) if e["event"].startswith("candidate-staged"))
    was = rotated.ok("show", now["rotation_id"][:6], "--at", f"#{staged['position']}", "--json").document
    assert (was["rotation_id"], was["state"]) == (now["rotation_id"], "applying")
    shown = rotated.ok("show", "app-db")
    assert "state              grace" in shown.out
    assert [line.split()[2] for line in shown.err.splitlines()] == ["resume", "retire", "abort"]
    rotated.run("show", "app-db", "--at", "#1").refused(6, "no event #1")
    rotated.run("show", "app-db", "--at", "#999").refused(6, "no event #999")


def test_replay_folds_again_what_happened(rotated: Folder) -> None:
    """JSON Lines; each state is the one before the next fact of the same rotation."""
    rotation = rotated.ok("show", "app-db", "--json").document["rotation_id"]
    lines = rotated.ok("replay", rotation, "--json").documents
    assert [list(line) for line in lines] == [["schema", "position", "event", "before", "after", "data"]] * len(lines)
    assert all(line["schema"] == "keyturn.replay/1" for line in lines)
    assert [line["after"] for line in lines[:-1]] == [line["before"] for line in lines[1:]]
    assert lines[-1]["after"] == "grace"
    until = rotated.ok("replay", "app-db", "--until", "#3", "--step").out
    assert [line.split()[0] for line in until.splitlines()] == ["#1", "#2", "#3"]


def test_the_audit_names_the_first_event_that_was_changed(rotated: Folder) -> None:
    import sqlite3

    good = rotated.ok("audit", "verify", "--json").document
    assert list(good) == ["schema", "events", "ok", "first_bad_position", "head_hash"]
    assert (good["schema"], good["ok"], good["first_bad_position"]) == ("keyturn.audit/1", True, None)
    rotated.ok("audit", "verify", "--anchor", f"{good['events']}:{good['head_hash']}")
    exported = rotated.ok("audit", "export").documents
    assert [each["position"] for each in exported] == list(range(1, good["events"] + 1))
    with sqlite3.connect(rotated.state / "events.db") as connection:
        connection.execute("UPDATE events SET tag = 'promoted.1' WHERE position = 3")
    bad = rotated.run("audit", "verify", "--json")
    bad.refused(5, "event #3 is changed", "from a backup")
    assert (bad.document["ok"], bad.document["first_bad_position"]) == (False, 3)
    rotated.run("audit", "verify", "--anchor", "nonsense").refused(2, "POSITION:HASH")


def test_doctor_finds_nothing_where_all_is_well(rotated: Folder) -> None:
    done = rotated.ok("doctor", "--json").document
    assert done["ok"] is True
    assert {finding["severity"] for finding in done["findings"]} == {"ok"}
    assert "accepts v2-" in rotated.ok("doctor").out


def test_doctor_finds_what_somebody_else_changed_in_the_store(rotated: Folder) -> None:
    """Drift between log and store asks for a person."""
    store = rotated.wiring().held_in("app-db")
    held = store.versions("default/app-db")
    assert held.current is not None
    assert held.previous is not None
    value = store.read("default/app-db", held.previous)
    assert value is not None
    store.promote("default/app-db", held.previous, value, expected=held.current)
    assert "FAIL" in rotated.run("doctor").out.upper()
    assert rotated.run("doctor").code == 5


def test_doctor_tells_of_a_target_and_a_key_that_are_not_there(rotated: Folder) -> None:
    """Out of reach is 4; everything else is looked at all the same."""
    rotated.configure("app-db", faults="unavailable")
    assert rotated.run("doctor").code == 4
    (rotated.path / "master.key").rename(rotated.path / "elsewhere.key")
    done = rotated.run("doctor", "--json")
    (rotated.path / "elsewhere.key").rename(rotated.path / "master.key")
    assert done.code == 4
    assert any("no such file" in finding["message"] for finding in done.document["findings"])


def test_a_secret_is_shown_only_when_it_is_asked_for(rotated: Folder) -> None:
    shown = rotated.ok("secret", "get", "app-db", "--json").document
    assert list(shown) == ["schema", "service", "environment", "version", "username", "password"]
    assert (shown["schema"], shown["username"], shown["password"]) == ("keyturn.secret/1", "app", None)
    assert "labels       current" in rotated.ok("secret", "get", "app-db").out
    assert rotated.ok("secret", "get", "app-db", "--field", "username").out == "app\n"
    current = rotated.ok("secret", "get", "app-db", "--reveal").out.strip()
    previous = rotated.ok("secret", "get", "app-db", "--reveal", "--version", "previous").out.strip()
    assert {current, previous} == rotated.secrets()
    assert rotated.ok("secret", "get", "app-db", "--reveal", "--json").document["password"] == current
    assert current in rotated.ok("secret", "get", "app-db", "--reveal", "--field", "url").out
    rotated.run("secret", "get", "app-db", "--version", "pending").refused(6, "no pending version")


def test_a_command_is_run_with_the_secret_in_its_environment_alone(rotated: Folder) -> None:
    """Not in its arguments, not in a file; its exit code is passed on."""
    script = 'tr "\\0" " " < /proc/$$/cmdline; printf "%s" "$DB"; exit 7'
    done = rotated.run("exec", "app-db", "--map", "DB=password", "--", "sh", "-c", script)
    assert done.code == 7
    arguments, value = done.out.rsplit(" ", 1)
    assert value == rotated.ok("secret", "get", "app-db", "--reveal").out.strip()
    assert value not in arguments
    named = rotated.run("exec", "app-db", "--", "sh", "-c", 'echo "$APP_DB_USERNAME ${#APP_DB_PASSWORD}"')
    assert named.out == "app 32\n"
    assert rotated.run("exec", "app-db", "--", "env", "--help").code == 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["exec", "app-db"], "behind `--`"),
        (["exec", "app-db", "--"], "behind `--`"),
        (["exec", "app-db", "--map", "1X=password", "--", "true"], "VARIABLE=[SERVICE:]FIELD"),
        (["exec", "app-db", "--map", "X=other:password", "--", "true"], "VARIABLE=[SERVICE:]FIELD"),
        (["exec", "app-db", "--map", "X=nothing", "--", "true"], "VARIABLE=[SERVICE:]FIELD"),
        (["exec", "app-db", "--", "no-such-command-anywhere"], "No such file"),
    ],
)
def test_what_exec_cannot_do_is_said(rotated: Folder, arguments: list[str], part: str) -> None:
    rotated.run(*arguments).refused(2, part)


def test_a_secret_of_ones_own_is_put_into_a_store(folder: Folder) -> None:
    """It can be referred to; what rotations write cannot be written over."""
    folder.ok(
        "secret", "put", "local", "admin/app-db", "--username", "root", "--value-file", "-", stdin="canary-admin\n"
    )
    store = folder.wiring().store("local")
    value = store.read("admin/app-db", "current")
    assert value is not None
    assert (value.username, value.revealed()) == ("root", "canary-admin")
    folder.ok("secret", "put", "local", "admin/app-db", "--value-file", "-", stdin="canary-second")
    assert not [text for text in folder.printed if "canary" in text]
    folder.run("secret", "put", "local", "default/app-db", "--value-file", "-", stdin="x").refused(
        2, "--new-value-file"
    )
    folder.run("secret", "put", "local", "../escape", "--value-file", "-", stdin="x").refused(2, "'../escape'")
    folder.run("secret", "put", "lokal", "a", "--value-file", "-", stdin="x").refused(2, "Did you mean 'local'?")
    folder.run("secret", "put", "local", "a").refused(2, "--value-file")
    folder.run("secret", "put", "local", "a", "--value-file", "-").refused(2, "one line")
    folder.run("secret", "put", "local", "a", "--value-file", "nowhere").refused(2, "No such file")
    assert "would write" in folder.ok("secret", "put", "local", "a", "--dry-run").out


def test_the_plan_tells_every_step_and_what_a_crash_there_leads_to(folder: Folder) -> None:
    plan = folder.ok("plan", "app-db", "--json").document
    assert list(plan) == ["schema", "service", "strategy", "overlap", "blast_radius", "steps", "waves", "refused"]
    assert [list(step) for step in plan["steps"]] == [["effect", "description", "on_crash"]] * len(plan["steps"])
    assert [step["effect"] for step in plan["steps"]] == ["stage", "apply", "verify", "promote", "end_grace", "retire"]
    assert (plan["schema"], plan["overlap"], plan["refused"]) == ("keyturn.plan/1", True, None)
    assert "crash: there is no way back from here" in folder.ok("plan", "--all").out


def test_a_plan_that_the_target_cannot_do_is_refused_with_the_reason(folder: Folder) -> None:
    folder.configure("app-db", strategy="single")
    folder.config.write_text(folder.config.read_text().replace("type: memory", "type: memory\n    values_max: 2"))
    done = folder.run("plan", "app-db", "--json")
    done.refused(2, "strategy single is not possible", "Use one of")
    assert "values_max" in done.document["refused"]
    assert folder.run("config", "check").code == 2


def test_init_makes_all_that_a_first_rotation_needs(tmp_path: Path, forking: Forking) -> None:
    """The commands that it names work at once; a second one is refused, and a key is never written over."""
    folder = Folder(tmp_path, forking)
    assert "would make" in folder.ok("init", "--dry-run").out
    assert not list(tmp_path.iterdir())
    folder.ok("init")
    key = (tmp_path / "master.key").read_bytes()
    folder.ok("config", "check")
    folder.ok("rotate", "rehearsal")
    folder.run("init").refused(6, "already there", "--force")
    folder.config.write_text("broken: [")
    folder.ok("init", "--force")
    folder.ok("status")
    assert (tmp_path / "master.key").read_bytes() == key
    assert (folder.config.stat().st_mode & 0o022, folder.state.stat().st_mode & 0o077) == (0, 0)


def test_the_configuration_is_shown_as_it_takes_effect(folder: Folder) -> None:
    assert folder.ok("config", "check").out.endswith("1 services, 2 stores, nothing wrong\n")
    shown = folder.ok("config", "show", "--json").document
    assert shown["services"]["app-db"]["rotation"]["grace_period"] == "1d"
    assert "grace_period: 1d" in folder.ok("config", "show").out
    assert json.loads(folder.ok("config", "schema").out)["title"] == "keyturn.yaml"


def test_the_machine_and_the_adapters_are_listed(folder: Folder) -> None:
    assert folder.ok("machine").out.startswith("| event | from | to |")
    assert folder.ok("machine", "--format", "mermaid").out.startswith("stateDiagram-v2")
    assert "staging" in folder.ok("machine", "--format", "json").document["states"]
    types = {each["type"] for each in folder.ok("adapters", "--json").document["adapters"]}
    assert {"memory", "postgresql", "redis", "encrypted-file", "env-file"} <= types
    assert "encrypted-file" in folder.ok("adapters").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_the_commands(folder: Folder, shell: str) -> None:
    assert "_KEYTURN_COMPLETE" in folder.ok("completion", shell).out
    words = (
        {"COMP_WORDS": "keyturn ro", "COMP_CWORD": "1"}
        if shell != "fish"
        else {"COMP_WORDS": "keyturn ro", "COMP_CWORD": "ro"}
    )
    done = folder.run(_KEYTURN_COMPLETE=f"{shell}_complete", **words)
    assert "rotate" in done.out
    assert "rollback" in done.out
    assert "status" not in done.out


def test_help_is_the_same_wherever_it_is_asked_for(folder: Folder) -> None:
    """Without a name, with --help, behind another option; each command's help opens with its line of the list."""
    assert folder.ok().out == folder.ok("--help").out == folder.ok("--json", "--help").out == help_text() + "\n"
    assert folder.ok("--version").out.startswith("keyturn ")
    for name, (_, line) in COMMANDS.items():
        text = " ".join(folder.ok(name, "--help").out.split())
        assert f" {line} " in text, name


def test_a_reader_that_goes_away_is_no_error(rotated: Folder) -> None:
    process = subprocess.Popen(
        rotated.command("audit", "export"),
        cwd=rotated.path,
        env=rotated.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")


def _told_of(folder: Folder) -> int:
    """Give the service a channel and instances, and return the position of an event that people are told of."""
    more = "      notifications: {file: {path: told.jsonl}}\n"
    folder.configure("app-db", more=more + "      discovery: {type: memory}\n      distribution: {type: memory}\n")
    events = folder.ok("history", "--json").document["events"]
    position: int = next(each["position"] for each in events if each["event"] == "rotation-started.2")
    return position


def test_the_reference_names_the_fields_that_are_printed(rotated: Folder) -> None:
    """Every document has the fields that docs/reference/cli.md lists, in that order."""
    printing = {
        "keyturn.rotation/1": ("show", "app-db"),
        "keyturn.conflict/1": ("rotate", "app-db"),
        "keyturn.status/1": ("status",),
        "keyturn.history/1": ("history",),
        "keyturn.replay/1": ("replay", "app-db"),
        "keyturn.secret/1": ("secret", "get", "app-db"),
        "keyturn.plan/1": ("plan", "app-db"),
        "keyturn.audit/1": ("audit", "verify"),
        "keyturn.event/1": ("audit", "export"),
        "keyturn.config/1": ("config", "check"),
        "keyturn.effective/1": ("config", "show"),
        "keyturn.metrics/1": ("metrics",),
        "keyturn.doctor/1": ("doctor",),
        "keyturn.machine/1": ("machine",),
        "keyturn.simulation/1": ("simulate", "--strategy", "dual", "--runs", "2"),
        "keyturn.adapters/1": ("adapters",),
        "keyturn.health/1": ("health", "app-db"),
        "keyturn.instances/1": ("discover", "app-db"),
        "keyturn.notify/1": ("notify", "test", "file"),
        "keyturn.preview/1": ("notify", "preview", str(_told_of(rotated)), "--channel", "file"),
        "keyturn.outbox/1": ("notify", "outbox"),
        "keyturn.route/1": ("notify", "route"),
    }
    assert set(printing) == set(FIELDS)
    for schema, command in printing.items():
        document = rotated.run(*command, "--json").documents[0]
        listed = re.sub(r"\[?\{[^}]*\}+\]?|\([^)]*\)", "", FIELDS[schema][1])
        assert ["schema", *re.findall(r"\w+", re.sub(r"\{.*?\}", "", listed))] == list(document), schema
        assert document["schema"] == schema
