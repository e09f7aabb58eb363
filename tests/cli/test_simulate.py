"""`keyturn simulate`: every option is heeded, the JSON is as promised, and nothing is contacted or written."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.commands import CODES
from adapters.simulation.coverage import EFFECT_FAULTS, REACHABLE
from adapters.simulation.seeds import KINDS
from tests.cli.program import HEAD, Done, Folder

pytestmark = pytest.mark.slow

FEW = ("--runs", "8")
UNREACHABLE = """
  app-db:
    type: postgresql
    host: db.invalid
    database: app
    admin_credentials: {{username: keyturn, password: env://NOT_SET}}
    credential: {{username: app, store: local, key: default/app-db}}
    rotation: {rotation}
"""
SHORT_GRACE = "{strategy: alternating, usernames: [app_a, app_b], grace_period: 5m}"
LONG_GRACE = SHORT_GRACE.replace("5m", "2h")
UNATTENDED = "{strategy: single, rollback: {automatic: false}}"
ONCE = "{strategy: single, verification: {attempts: 1}, rollback: {on_verification_failure: false}}"


def configured(folder: Folder, rotation: str) -> Folder:
    """Return the folder with a service on a server that is not there."""
    folder.config.write_text(HEAD + UNREACHABLE.format(rotation=rotation))
    return folder


def simulated(folder: Folder, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run it and return its document."""
    done = folder.run("simulate", *arguments, "--json")
    assert done.code == code, done
    return done.document


def test_a_strategy_needs_no_configuration(folder: Folder) -> None:
    folder.config.unlink()
    done = folder.ok("simulate", "--strategy", "alternating", *FEW)
    assert "strategy alternating" in done.out
    assert "8 (seeds 0 to 7)" in done.out
    assert "rotations" in done.out
    assert "violations" in done.out


def test_nobody_is_contacted_and_nothing_is_written(folder: Folder) -> None:
    """The server does not exist, its password is nowhere, and the state folder is never made."""
    configured(folder, LONG_GRACE)
    before = sorted(path.name for path in folder.path.rglob("*"))
    nowhere = folder.path / "nowhere"
    folder.ok("simulate", "app-db", *FEW, "--state", str(nowhere))
    assert sorted(path.name for path in folder.path.rglob("*")) == before


def test_the_document_has_what_is_promised(folder: Folder) -> None:
    found = simulated(configured(folder, SHORT_GRACE), "app-db", *FEW, "--seed", "3", code=3)
    assert next(iter(found)) == "schema"
    assert found["schema"] == "keyturn.simulation/1"
    assert (found["service"], found["strategy"], found["runs"], found["seed"]) == ("app-db", "alternating", 8, 3)
    totals = {name: found["coverage"][name]["total"] for name in ("transitions", "faults")}
    assert totals == {"transitions": len(REACHABLE), "faults": len(EFFECT_FAULTS)}
    for name in ("transitions", "faults"):
        assert 0 < found["coverage"][name]["covered"] < found["coverage"][name]["total"]
    assert found["seconds"] > 0
    assert found["endings"].keys() == {"completed", "rolled_back", "failed", "rollback_failed"}
    assert found["refresh_seconds"] == 3600
    assert 0 <= found["locked_out_seconds"] < 1
    (violation,) = found["violations"]
    assert violation["invariant"] == "I3"
    assert violation["seed"] >= 3
    assert violation["runs"] > 1
    assert violation["next"] == f"keyturn simulate app-db --story {violation['seed']}"
    assert violation["steps"][-1].endswith(violation["message"])


def test_a_grace_period_that_is_too_short_is_caught(folder: Folder) -> None:
    """Exit 3, in words: what, for how long, and how to see it."""
    done = configured(folder, SHORT_GRACE).run("simulate", "app-db", *FEW)
    assert done.code == 3
    assert "I3, where two versions can be valid" in done.out
    assert "consumers that re-read every 1h are refused for up to 55m" in done.out
    assert "step by step: keyturn simulate app-db --story 0" in done.out
    assert configured(folder, LONG_GRACE).run("simulate", "app-db", *FEW).code == 0


def test_how_often_consumers_re_read_is_what_refresh_says(folder: Folder) -> None:
    """And the output says what is assumed."""
    configured(folder, SHORT_GRACE)
    done = folder.run("simulate", "app-db", *FEW, "--refresh", "5m")
    assert done.code == 0
    assert "every 5m (--refresh)" in done.out
    assert folder.run("simulate", "app-db", *FEW, "--refresh", "6m").code == 3


@pytest.mark.parametrize(("rotation", "key"), [(UNATTENDED, "automatic"), (ONCE, "on_verification_failure")])
def test_going_back_that_is_turned_off_is_caught(folder: Folder, rotation: str, key: str) -> None:
    """With one value a login, consumers are locked out until a person runs the command that is named."""
    done = configured(folder, rotation).run("simulate", "app-db", "--runs", "60", "--faults", "query,refused")
    assert done.code == 3, done
    assert f"locked out until a person acts (keyturn rollback), because rollback.{key} is false" in done.out


def test_a_budget_that_verifying_uses_up_shows_in_how_long_consumers_are_locked_out(folder: Folder) -> None:
    """Every verification may cost two wrong logins: the next one waits for the window, with one value a login."""
    arguments = ("app-db", "--runs", "40", "--faults", "query,unknown")
    free = simulated(configured(folder, "{strategy: single}"), *arguments)
    budget = "\n    login_budget: {tries: 2, window: 15m}"
    counted = simulated(configured(folder, "{strategy: single}" + budget), *arguments)
    assert free["locked_out_seconds"] < 60
    assert counted["locked_out_seconds"] > 900
    assert re.search(r"locked out +at most \d\dm ", folder.ok("simulate", *arguments).out)


@pytest.mark.parametrize(
    ("rotation", "invariant"),
    [
        ("{strategy: single, verification: {timeout: 500us}}", "L2"),
        ("{strategy: single, rollback: {timeout: 500us}}", "L3"),
        (SHORT_GRACE.replace("5m", "0s"), "I3"),
    ],
)
def test_times_that_nobody_can_keep_are_caught(folder: Folder, rotation: str, invariant: str) -> None:
    """No login is verified, no rollback succeeds until it is given up, nobody re-reads in time."""
    found = simulated(configured(folder, rotation), "app-db", "--runs", "20", code=3)
    assert invariant in {violation["invariant"] for violation in found["violations"]}


def test_a_rollback_that_is_tried_once_needs_a_person_more_often(folder: Folder) -> None:
    arguments = ("app-db", "--runs", "60", "--faults", "refused,error_before")
    once = simulated(configured(folder, "{strategy: single, rollback: {max_retries: 0}}"), *arguments)
    thrice = simulated(configured(folder, "{strategy: single}"), *arguments)
    assert once["endings"]["rollback_failed"] > thrice["endings"]["rollback_failed"]


def test_the_policy_of_the_service_is_what_runs(folder: Folder) -> None:
    """One try of each step goes back where five get through."""
    few, many = "{strategy: single, retry: {attempts: 1}}", "{strategy: single, retry: {attempts: 9}}"
    arguments = ("app-db", "--runs", "60", "--faults", "error_before")
    impatient = simulated(configured(folder, few), *arguments)["endings"]
    patient = simulated(configured(folder, many), *arguments)["endings"]
    assert patient["completed"] > impatient["completed"]
    assert impatient["rolled_back"] + impatient["failed"] > 0


def test_all_services_are_a_document_each(folder: Folder) -> None:
    folder.configure("app-db", "cache", strategy="dual")
    documents = folder.run("simulate", "--all", *FEW, "--json").documents
    assert [document["service"] for document in documents] == ["app-db", "cache"]
    named = folder.run("simulate", "cache", *FEW, "--json").documents
    assert [document["service"] for document in named] == ["cache"]


def test_the_same_seed_is_the_same_result_on_any_number_of_cores(folder: Folder) -> None:
    configured(folder, SHORT_GRACE)
    first, again, two = (
        simulated(folder, "app-db", "--runs", "60", *more, code=3) for more in ((), (), ("--jobs", "2"))
    )
    for found in (first, again, two):
        del found["seconds"]
    assert first == again == two


def test_another_seed_is_another_result(folder: Folder) -> None:
    """It is the seed of the first run: the runs of --seed 4 overlap with those of --seed 0."""
    first = simulated(folder, "--strategy", "single", *FEW)
    other = simulated(folder, "--strategy", "single", *FEW, "--seed", "1000")
    assert first["coverage"] != other["coverage"]


def test_only_the_faults_that_are_named_happen(folder: Folder) -> None:
    found = simulated(folder, "--strategy", "single", "--runs", "60", "--faults", "late,forgotten")
    possible = sum(kind in ("late", "forgotten") for _, _, kind in EFFECT_FAULTS)
    assert 0 < found["coverage"]["faults"]["covered"] <= possible
    calm = simulated(folder, "--strategy", "single", *FEW, "--faults", "empty")
    assert calm["coverage"]["faults"]["covered"] == 0, "what people do by hand is a kind as well"


def test_a_story_is_told_step_by_step(folder: Folder) -> None:
    """The whole of it, with times; where it violates an invariant the shortest that does, and exit 3."""
    told = configured(folder, SHORT_GRACE).run("simulate", "app-db", "--story", "0")
    assert told.code == 3
    assert "the target is asked to accept" in told.out
    assert "I3 is violated" in told.out.splitlines()[-1]
    calm = folder.ok("simulate", "--strategy", "single", "--story", "0")
    assert calm.out.splitlines()[0].startswith("--strategy single, seed 0: ")
    assert calm.out.splitlines()[-1] == "every invariant held"
    document = simulated(folder, "--strategy", "single", "--story", "0")
    assert (document["runs"], document["seed"], document["violations"]) == (1, 0, [])
    assert document["steps"] == calm.out.splitlines()[1:-1]


def test_the_command_that_is_named_tells_the_run_that_was_found(folder: Folder) -> None:
    """With the same trouble, the same consumers and the same configuration, or it would be another run."""
    other = folder.path / "other file.yaml"
    configured(folder, SHORT_GRACE).config.rename(other)
    options = ("--faults", "late,twice", "--refresh", "30m", "--config", str(other))
    (violation,) = simulated(folder, "app-db", *FEW, *options, code=3)["violations"]
    words = shlex.split(violation["next"])
    assert words[:2] == ["keyturn", "simulate"]
    for option in options:
        assert option in words
    told = folder.run(*words[1:])
    assert told.code == 3
    assert told.out.splitlines()[-1].endswith(violation["message"])
    folder.configure("app-db")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["Neither a service nor a strategy", "--strategy"]),
        (["nope"], ["no service 'nope'"]),
        (["app-db", "--strategy", "single"], ["--strategy", "without services"]),
        (["--all", "--strategy", "single"], ["--strategy", "without services"]),
        (["app-db", "--all"], ["--all", "without names"]),
        (["--strategy", "duel"], ["--strategy", "'duel'"]),
        (["app-db", "--runs", "0"], ["--runs"]),
        (["app-db", "--jobs", "0"], ["--jobs"]),
        (["app-db", "--seed", "-1"], ["--seed"]),
        (["app-db", "--faults", "lat"], ["no kind 'lat'", "Did you mean 'late'?"]),
        (["app-db", "--faults", "xyzzy"], ["no kind 'xyzzy'", *KINDS[:3]]),
        (["app-db", "--faults", ""], ["no kind ''"]),
        (["app-db", "--refresh", "60"], ["--refresh", "a duration with its unit"]),
        (["--all", "--story", "1"], ["--story", "one service"]),
    ],
)
def test_wrong_usage_is_told_with_the_next_step(folder: Folder, arguments: list[str], parts: list[str]) -> None:
    folder.configure("app-db", "cache")
    folder.run("simulate", *arguments).refused(2, *parts)


def test_what_the_target_cannot_do_is_refused(folder: Folder) -> None:
    """As by `plan`, which makes the same plan."""
    folder.configure("app-db", strategy="single", more="    values_max: 3\n")
    folder.run("simulate", "app-db").refused(2, "app-db", "values_max", "service app-db (default)")


def test_the_exit_code_of_a_violation_is_one_that_nothing_else_here_has(folder: Folder) -> None:
    """Failed, with everything as it was before; the help says so."""
    assert CODES[3].startswith("failed, and safely")
    assert "Exits with 3" in " ".join(folder.ok("simulate", "--help").out.split())


def test_an_interrupt_shows_what_was_found_so_far(folder: Folder) -> None:
    """Exit 130; on a terminal it is told how far it is, with the violations and the runs a second."""
    configured(folder, SHORT_GRACE)
    for jobs in (1, 2):
        code, out, err, workers = interrupted(
            folder, "simulate", "app-db", "--runs", "100000", "--json", "--jobs", str(jobs)
        )
        assert code == 130, err
        assert (workers >= 2) is (jobs == 2), "with --jobs 2 it has two processes at work, else none"
        assert '"schema": "keyturn.simulation/1"' in out
        assert 0 < Done(code, out, "").document["runs"] < 100_000
        assert "of 100000 runs" in err
        assert "a second" in err


def interrupted(folder: Folder, *arguments: str) -> tuple[int, str, str, int]:
    """Run the program with a terminal for its stderr; press Ctrl-C once it says how far it is.

    Returns the exit code, what it printed, what it said, and how many processes it had at work.
    """
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        folder.command(*arguments),
        cwd=folder.path,
        env=folder.environment(TERM="xterm", COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    ) as program:
        os.close(theirs)
        said, until = "", time.monotonic() + 60
        while " runs, " not in said and time.monotonic() < until:
            said += os.read(ours, 65536).decode()
        workers = len(Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split())
        os.killpg(program.pid, signal.SIGINT)
        assert program.stdout is not None
        out = program.stdout.read()
        code = program.wait(60)
    os.close(ours)
    return code, out, said, workers


def test_without_a_terminal_nothing_is_said_on_the_way(folder: Folder) -> None:
    assert folder.ok("simulate", "--strategy", "dual", *FEW).err == ""


def test_help_names_every_kind_of_fault(folder: Folder, tmp_path: Path) -> None:
    """They are words of a contract like any other choice."""
    text = " ".join(folder.ok("simulate", "--help").out.split())
    assert [kind for kind in KINDS if kind not in text] == []
