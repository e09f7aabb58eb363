"""A script is a check: what it is given, what its exit code means, what it may see, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from adapters.programs import GUARDIAN
from engine.health import TEXT_BYTES_MAX, CheckResult, Validatable
from engine.values import SECOND, CredentialValue, Secret
from tests.architecture.source import ROOT
from tests.integration.health.scripts import eventually, running, script, script_check
from tests.unit.health.bench import check, subject

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are found in /proc, which Linux has"),
]
MEMORY = Path("/dev/shm")


# --- what it says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "result"),
    [(0, CheckResult.PASS), (1, CheckResult.WARN), (2, CheckResult.FAIL), (3, CheckResult.UNKNOWN)],
)
def test_an_exit_code_means_what_it_means_to_nagios(tmp_path: Path, code: int, result: CheckResult) -> None:
    seen = script_check(tmp_path, f"echo 'it is so | hits=5c'; echo more; exit {code}").look(subject())
    assert (seen.result, seen.text, seen.value, seen.unit) == (result, "it is so", 5.0, "")
    assert seen.duration > 0


def test_any_other_end_is_unknown(tmp_path: Path) -> None:
    for body, text in (("exit 42", "exit code 42 means nothing"), ("kill -9 $$", "ended by signal 9")):
        seen = script_check(tmp_path, body).look(subject())
        assert (seen.result, seen.text) == (CheckResult.UNKNOWN, text)


def test_a_script_that_says_nothing_is_told_by_its_errors_or_its_code(tmp_path: Path) -> None:
    assert script_check(tmp_path, "echo no route >&2; exit 2").look(subject()).text == "no route"
    assert script_check(tmp_path, "exit 2").look(subject()).text == "exit code 2"


def test_the_metric_that_is_asked_for_is_the_value(tmp_path: Path) -> None:
    body = "echo 'ok | a=1s b=20%'"
    assert script_check(tmp_path, body).look(subject()).value == 1.0
    seen = script_check(tmp_path, body, metric="b").look(subject())
    assert (seen.value, seen.unit) == (0.2, "ratio")


def unable(tmp_path: Path, name: str) -> str:
    """Return why a script cannot be run, which it says when it is asked and when it looks."""
    checking = check("script", {"script": name}, base=tmp_path)
    assert isinstance(checking, Validatable)
    seen = checking.look(subject())
    assert seen.result is CheckResult.UNKNOWN
    assert checking.validate() == {"script": seen.text}
    return seen.text


def test_a_script_that_cannot_be_run_is_unknown_and_says_why(tmp_path: Path) -> None:
    assert unable(tmp_path, "nowhere") == f"there is no {tmp_path / 'nowhere'}"
    assert unable(tmp_path, ".") == f"{tmp_path} is no file"
    name = script(tmp_path, "exit 0")
    path = tmp_path / name
    fine = check("script", {"script": name}, base=tmp_path)
    assert isinstance(fine, Validatable)
    assert (fine.validate(), fine.look(subject()).result) == ({}, CheckResult.PASS)
    path.write_text("exit 0\n")
    assert "begins with no #! line" in unable(tmp_path, name)
    for first in ("#!/nowhere/at/all", "#!", "#! /tmp -x"):
        path.write_text(f"{first}\n")
        assert "which is no program" in unable(tmp_path, name)
    path.chmod(0o644)
    assert "is not executable" in unable(tmp_path, name)


def test_what_only_shows_when_it_is_run_is_unknown_as_well(tmp_path: Path) -> None:
    """As a script that is for a script which is for nothing."""
    (tmp_path / "between").write_text("#!/nowhere/at/all\n")
    (tmp_path / "between").chmod(0o755)
    seen = script_check(tmp_path, "", interpreter=str(tmp_path / "between")).look(subject())
    assert (seen.result, seen.text) == (CheckResult.UNKNOWN, "it could not be run: no such file or directory")


def test_a_program_of_the_machine_is_run(tmp_path: Path) -> None:
    assert check("script", {"script": "/bin/true"}, base=tmp_path).look(subject()).result is CheckResult.PASS


# --- what it is given --------------------------------------------------------------------------------------------


def test_its_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours reaches it: what it knows is the rotation, under our names and those of dsops."""
    monkeypatch.setenv("CANARY_OF_OURS", "canary-environment")
    given = subject()
    seen = script_check(tmp_path, "env > seen").look(given)
    assert seen.result is CheckResult.PASS
    lines = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    told = {
        "SERVICE_NAME": "app-db",
        "ENVIRONMENT": "production",
        "ROTATION_ID": "r-1",
        "NEW_VERSION": "v2",
        "OLD_VERSION": "v1",
        "STRATEGY": "dual",
        "CREDENTIAL_FILE": lines["KEYTURN_CREDENTIAL_FILE"],
    }
    expected = {f"{prefix}_{name}": text for prefix in ("KEYTURN", "DSOPS") for name, text in told.items()}
    by_the_shell = {"PWD", "SHLVL", "_", "OLDPWD"}
    assert {name: text for name, text in lines.items() if name not in by_the_shell} == {
        **expected,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }


def test_arguments_and_variables_are_filled_in(tmp_path: Path) -> None:
    """And go to the script as they are: there is no shell that would read them."""
    body = 'printf \'%s|\' "$@" "$GREETING"'
    args = ["{{ service }}", "{{new_version}}/{{ username }}", "$(id); *", "größe"]
    checking = script_check(tmp_path, f"{body} > seen", args=args, environment={"GREETING": "hi {{ environment }}"})
    assert checking.look(subject()).result is CheckResult.PASS
    assert (tmp_path / "seen").read_text() == "app-db|v2/app|$(id); *|größe|hi production|"


def expected_credential(new: CredentialValue, old: CredentialValue) -> dict[str, object]:
    return {
        "username": new.username,
        "password": new.revealed(),
        "version": "v2",
        "old": {"username": old.username, "password": old.revealed(), "version": "v1"},
    }


@pytest.mark.parametrize("way", ["file", "descriptor"])
def test_the_credential_is_read_from_where_the_variable_says(tmp_path: Path, way: str) -> None:
    given = subject()
    assert given.new
    assert given.old
    body = 'f="$KEYTURN_CREDENTIAL_FILE"; cat "$f" > seen; ls -l "$f" > mode; echo "$f" > where'
    assert script_check(tmp_path, body, pass_secret=way).look(given).result is CheckResult.PASS
    assert json.loads((tmp_path / "seen").read_text()) == expected_credential(given.new, given.old)
    where = Path((tmp_path / "where").read_text().strip())
    assert where.parts[:3] == (("/", "dev", "shm") if way == "file" else ("/", "dev", "fd"))
    if way == "file":
        assert (tmp_path / "mode").read_text().startswith("-rw-------")
        assert not where.exists()
        assert not where.parent.exists()


def test_the_environment_holds_the_credential_only_where_that_is_asked_for(tmp_path: Path) -> None:
    given = subject()
    assert given.new
    assert given.old
    checking = script_check(
        tmp_path,
        'printf "%s %s %s" "$KEYTURN_USERNAME" "$KEYTURN_PASSWORD" "$BEFORE" > seen; env > all',
        pass_secret="environment",
        environment={"BEFORE": "{{ old_password }}"},
    )
    assert checking.look(given).result is CheckResult.PASS
    assert (tmp_path / "seen").read_text() == f"app {given.new.revealed()} {given.old.revealed()}"
    assert "CREDENTIAL_FILE" not in (tmp_path / "all").read_text()


# --- what others see ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "descriptor"])
def test_no_process_shows_the_credential(tmp_path: Path, way: str) -> None:
    """Neither arguments nor environment of anything that runs hold it, while the script does."""
    given = subject()
    assert given.new
    assert given.old
    secrets = [given.new.revealed(), given.old.revealed()]
    checking = script_check(tmp_path, "touch begun; while [ ! -e seen ]; do sleep 0.01; done", pass_secret=way)
    looking = threading.Thread(target=checking.look, args=(given,))
    looking.start()
    assert eventually((tmp_path / "begun").exists)
    shown = [pid for secret in secrets for pid in running(secret)]
    (tmp_path / "seen").touch()
    looking.join()
    assert shown == []


def test_what_it_prints_is_shown_without_the_credential(tmp_path: Path) -> None:
    """In whatever spelling, on standard output as on standard error."""
    given = subject()
    assert given.new
    secret = given.new.revealed()
    for body in (
        'cat "$KEYTURN_CREDENTIAL_FILE"',
        'cat "$KEYTURN_CREDENTIAL_FILE" >&2',
        'base64 -w0 "$KEYTURN_CREDENTIAL_FILE"',
        'od -An -v -tx1 "$KEYTURN_CREDENTIAL_FILE" | tr -d " \\n"',
    ):
        text = script_check(tmp_path, body).look(given).text
        assert "***" in text
        for form in (secret, secret.encode().hex(), secret[8:24]):
            assert form not in text


def test_ten_megabytes_of_output_are_capped(tmp_path: Path) -> None:
    """And the secret does not show by being cut in the middle where the cap is."""
    given = subject(new=CredentialValue("app", Secret("canary-" + "0123456789abcdef" * 8)))
    assert given.new
    body = (
        "import os,json; s=json.load(open(os.environ['KEYTURN_CREDENTIAL_FILE']))['password']\nprint((s + '.') * 80000)"
    )
    seen = script_check(tmp_path, body, interpreter=sys.executable).look(given)
    assert seen.result is CheckResult.PASS
    assert len(seen.text.encode()) <= TEXT_BYTES_MAX
    assert "canary" not in seen.text
    assert set(seen.text) == {"*", "."}
    seen = script_check(tmp_path, "head -c 10000000 /dev/zero | tr '\\0' x; exit 1").look(given)
    assert (seen.result, seen.text) == (CheckResult.WARN, "x" * TEXT_BYTES_MAX)


@pytest.mark.parametrize("where", ["", " >&2"], ids=["output", "errors"])
def test_what_is_printed_takes_no_memory_of_ours(tmp_path: Path, where: str) -> None:
    """Ten megabytes pass through, and what is kept of them is a part of one."""
    flood = script_check(tmp_path, f"head -c 10000000 /dev/zero | tr '\\0' x{where}; exit 1")
    tracemalloc.start()
    try:
        seen = flood.look(subject())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (seen.result, seen.text) == (CheckResult.WARN, "x" * TEXT_BYTES_MAX)
    assert most < 2_000_000


def test_output_without_end_ends_with_the_time(tmp_path: Path) -> None:
    begun = time.monotonic()
    seen = script_check(tmp_path, "exec yes", seconds=0.3).look(subject())
    assert (seen.result, seen.text) == (CheckResult.UNKNOWN, "it did not end in time: y")
    assert time.monotonic() - begun < 2


# --- that nothing of it stays ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begin",
    [
        "sleep 4 & wait",
        "setsid sleep 4 & wait",
        "(setsid sh -c 'trap \"\" TERM HUP; sleep 4' &) ; sleep 4",
        "trap '' TERM INT HUP; nohup sleep 4",
    ],
)
def test_a_timeout_ends_it_and_whatever_it_began(tmp_path: Path, begin: str) -> None:
    """Within 200 ms of a timeout of 200 ms, although what it began moved to a session of its own.

    That is how fast it is where the machine has the time for it, as at one of three tries.
    """
    times: list[float] = []
    while not times or (times[-1] >= 0.4 and len(times) < 3):
        mark = f"mark-{tmp_path.name}-{time.monotonic_ns()}"
        checking = script_check(tmp_path, begin, seconds=0.2, environment={"MARK": mark})
        begun = time.monotonic()
        seen = checking.look(subject())
        times.append(time.monotonic() - begun)
        assert (seen.result, seen.text, running(mark)) == (CheckResult.UNKNOWN, "it did not end in time", [])
        assert seen.duration < SECOND
    assert 0.2 <= min(times) < 0.4


def test_what_runs_on_after_the_script_is_ended_with_it(tmp_path: Path) -> None:
    """A daemon that it began does not keep the check waiting, nor stay."""
    mark = f"mark-{tmp_path.name}-{time.monotonic_ns()}"
    checking = script_check(tmp_path, "setsid sleep 30 & echo fine; exit 0", environment={"MARK": mark})
    begun = time.monotonic()
    seen = checking.look(subject())
    assert (seen.result, seen.text) == (CheckResult.PASS, "fine")
    assert time.monotonic() - begun < 2
    assert running(mark) == []


def test_a_timeout_fails_where_it_is_told_to(tmp_path: Path) -> None:
    seen = script_check(tmp_path, "echo half; exec sleep 4", seconds=0.1, timeout_is="fail").look(subject())
    assert (seen.result, seen.text) == (CheckResult.FAIL, "it did not end in time: half")


@pytest.mark.parametrize(
    "bomb",
    [
        'bomb() { [ "$1" -ge 8 ] && sleep 4 || { bomb $(($1 + 1)) | bomb $(($1 + 1)) & }; }; bomb 0; sleep 4',
        'd=${1:-0}; [ "$d" -ge 8 ] || { setsid "$0" $((d + 1)) & setsid "$0" $((d + 1)) & }; sleep 4',
    ],
    ids=["in one group", "in sessions of their own"],
)
def test_a_fork_bomb_is_contained(tmp_path: Path, bomb: str) -> None:
    """The superuser's is ended as soon as it is counted; everybody else's may not begin so many processes.

    These end by themselves at some five hundred processes: a test must not be what takes a machine down.
    """
    mark = f"mark-{tmp_path.name}-{time.monotonic_ns()}"
    checking = script_check(tmp_path, bomb, environment={"MARK": mark}, limits={"processes": 20})
    begun = time.monotonic()
    seen = checking.look(subject())
    assert seen.result is CheckResult.UNKNOWN
    assert "more than 20 processes" in seen.text or os.getuid() != 0
    assert time.monotonic() - begun < 15, "it may have come far until it was counted"
    assert running(mark) == []


def test_a_memory_hog_is_contained(tmp_path: Path) -> None:
    body = "print(len(bytearray(400_000_000)))"
    seen = script_check(tmp_path, body, interpreter=sys.executable).look(subject())
    assert (seen.result, seen.text) == (CheckResult.PASS, "400000000")
    limits = {"memory_bytes": 300_000_000}
    seen = script_check(tmp_path, body, interpreter=sys.executable, limits=limits).look(subject())
    assert seen.result is CheckResult.WARN, "an exception ends Python with code 1"
    assert "MemoryError" in seen.text or "Traceback" in seen.text


def test_a_large_file_and_a_busy_loop_are_contained(tmp_path: Path) -> None:
    seen = script_check(tmp_path, "head -c 5000000 /dev/zero > big; exit 0", limits={"file_bytes": 4096}).look(
        subject()
    )
    assert (tmp_path / "big").stat().st_size == 4096
    seen = script_check(tmp_path, "while :; do :; done", limits={"cpu_seconds": 1}).look(subject())
    assert seen.result is CheckResult.UNKNOWN
    assert seen.text in {f"ended by signal {each}" for each in (int(signal.SIGKILL), int(signal.SIGXCPU))}


def test_nothing_of_it_stays_when_keyturn_is_killed(tmp_path: Path) -> None:
    """The guardian sees that its input has ended: the script goes, and so does the file with the credential."""
    mark = f"mark-{tmp_path.name}-{time.monotonic_ns()}"
    script(tmp_path, 'echo "$KEYTURN_CREDENTIAL_FILE" > where; setsid sleep 30 & wait')
    raw = {"script": "look", "environment": {"MARK": mark}}
    program = (
        "from pathlib import Path; from tests.unit.health.bench import check, subject\n"
        f"check('script', {raw!r}, base=Path({str(tmp_path)!r})).look(subject())"
    )
    keyturn = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    where = tmp_path / "where"
    assert eventually(lambda: where.exists() and where.read_text().endswith("\n"))
    secret = Path(where.read_text().strip())
    assert secret.exists()
    keyturn.kill()
    keyturn.wait()
    assert eventually(lambda: not running(mark))
    assert eventually(lambda: not secret.parent.exists())


def test_no_guardian_stays(tmp_path: Path) -> None:
    for _ in range(3):
        script_check(tmp_path, "exit 0").look(subject())
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    mine = [each for each in running(str(GUARDIAN)) if str(each) in children]
    assert mine == []


# --- again, when it failed ---------------------------------------------------------------------------------------


def counting(tmp_path: Path, code: int) -> str:
    return f"date +%s%N >> runs; [ $(wc -l < runs) -ge 3 ] && exit 0; exit {code}"


@pytest.mark.parametrize("code", [2, 3])
def test_a_script_that_fails_is_run_again(tmp_path: Path, code: int) -> None:
    retry = {"max_attempts": 3, "backoff": "50ms"}
    assert script_check(tmp_path, counting(tmp_path, code), retry=retry).look(subject()).result is CheckResult.PASS
    runs = [int(line) / 1e9 for line in (tmp_path / "runs").read_text().split()]
    assert len(runs) == 3
    assert 0.05 <= runs[1] - runs[0] < 0.9, "as it was told to, not the second that it waits by itself"
    assert runs[2] - runs[1] >= 0.1, "the wait doubles"


def test_a_warning_is_an_answer_and_so_is_the_last_failure(tmp_path: Path) -> None:
    retry = {"max_attempts": 3, "backoff": "1ms"}
    assert script_check(tmp_path, "echo x >> runs; exit 1", retry=retry).look(subject()).result is CheckResult.WARN
    assert (tmp_path / "runs").read_text() == "x\n"
    assert script_check(tmp_path, counting(tmp_path, 2)).look(subject()).result is CheckResult.FAIL, "no retry is asked"


def test_all_runs_are_within_the_one_timeout(tmp_path: Path) -> None:
    retry = {"max_attempts": 10, "backoff": "200ms"}
    begun = time.monotonic()
    assert script_check(tmp_path, "exit 2", seconds=0.5, retry=retry).look(subject()).result is CheckResult.FAIL
    assert time.monotonic() - begun < 0.6
