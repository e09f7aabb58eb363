"""Handing out by a program: what it is given, what its end means, and what is left of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.distributors import exec as exec_
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.instances import Distributor, Instance, Usage
from engine.values import CredentialValue
from tests.contract.distributors import NEW, VALUES, soon
from tests.integration.distributor_bench import Bench, agent_program, bench
from tests.integration.leaks import Watch, hits

__all__ = ["bench"]

WEB = Instance("web-1", zone="a", endpoint="ssh://10.0.0.5")
SECRETS = {"the password": VALUES[NEW].revealed()}


def made(bench: Bench, *, timeout: float = 10, **options: Any) -> Distributor:
    """Return a distributor whose programs do nothing, but for what the options say."""
    return bench.distributor(exec_.ADAPTER, timeout=timeout, **{"command": ["true"], "look": ["true"], **options})


def program(bench: Bench, body: str) -> str:
    """Write a program of the shell."""
    path = bench.folder / f"program-{len(list(bench.folder.iterdir()))}"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o700)
    return f"./{path.name}"


def hand(distributor: Distributor, instance: Instance = WEB, value: CredentialValue = VALUES[NEW]) -> None:
    """Hand the new version out."""
    distributor.hand(instance, value, version=NEW, deadline=soon(10))


def test_command_and_what_is_filled_in(bench: Bench) -> None:
    """Once, and each argument stays one argument."""
    show = program(bench, 'printf "%s\\n" "$@" > "$OUT"; env >> "$OUT"; cat >> "$OUT"; pwd >> "$OUT"')
    arguments = ["{instance}", "to={endpoint}", "{zone} {version}", "{service}/{environment}", "{{}}", "{instance"]
    out = str(bench.folder / "out")
    strange = Instance("a {zone}; echo", zone="$HOME", endpoint="{version}")
    hand(made(bench, command=[show, *arguments], environment={"OUT": out, "OF": "{instance}"}), strange)
    text = Path(out).read_text(encoding="utf-8")
    assert text.split("\n")[:6] == [
        "a {zone}; echo",
        "to={version}",
        f"$HOME {NEW}",
        "app-db/production",
        "{{}}",
        "{instance",
    ]
    assert "OF=a {zone}; echo\n" in text
    for name, value in (("INSTANCE", "a {zone}; echo"), ("ZONE", "$HOME"), ("VERSION", NEW), ("SERVICE", "app-db")):
        assert f"KEYTURN_{name}={value}\n" in text
    assert str(bench.folder) in text
    assert "HOME=/" not in text


@pytest.mark.parametrize("way", ["stdin", "descriptor", "file", "none"])
def test_pass_value(bench: Bench, way: str) -> None:
    """The value comes as it is asked for, and stands in no argument, no environment, and no file afterwards."""
    named = "echo $KEYTURN_CREDENTIAL_FILE" if way == "none" else 'cat "$KEYTURN_CREDENTIAL_FILE"'
    read = "cat" if way == "stdin" else named
    show = program(bench, f"{read} > out; sleep 0.1")
    watch = Watch()
    with watch.watching():
        hand(made(bench, command=[show], pass_value=way))
    text = (bench.folder / "out").read_text(encoding="utf-8")
    if way == "none":
        assert text == "\n"
    else:
        assert json.loads(text) == {"username": "app_b", "password": VALUES[NEW].revealed(), "version": NEW}
    assert not hits(SECRETS, {str(index): shown for index, shown in enumerate(watch.shown)})


@pytest.mark.parametrize(
    ("body", "error", "why"),
    [
        ("exit 65", Rejected, "65"),
        ("exit 75", Unavailable, "75"),
        ("exit 78", Rejected, "configuration"),
        ("exit 1", Uncertain, "exit code 1"),
        ("kill -9 $$", Uncertain, "signal 9"),
        ("sleep 60", Uncertain, "in time"),
    ],
)
def test_what_the_end_of_a_program_means(bench: Bench, body: str, error: type[PortError], why: str) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=why) as raised:
        hand(made(bench, timeout=1, command=[program(bench, f"cat; {body}")]))
    assert type(raised.value) is error
    assert time.monotonic() - began < 8
    assert not hits(SECRETS, {"error": str(raised.value.fields).encode()})


def test_the_deadline_ends_a_program_with_what_it_began(bench: Bench) -> None:
    body = "setsid sleep 50 & echo $! > pid; sleep 50"
    with pytest.raises(Uncertain):
        made(bench, command=[program(bench, body)]).hand(WEB, VALUES[NEW], version=NEW, deadline=soon(0.6))
    pid = int((bench.folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_a_program_says_is_short_and_without_the_value(bench: Bench) -> None:
    """Its first two hundred characters on one line."""
    body = 'cat; tr "p" "p" < /dev/null; printf "told\\n\\033[1mme\\0"; head -c 100000 /dev/zero | tr "\\0" x; exit 75'
    with pytest.raises(Unavailable) as raised:
        hand(made(bench, command=[program(bench, body)]))
    assert not hits(SECRETS, {"error": raised.value.why.encode()})
    assert raised.value.why.isprintable()
    assert len(raised.value.why) < 300


class TestLook:
    """`look` proves by a report, or by its exit code."""

    def test_look_and_proof_fingerprint(self, bench: Bench) -> None:
        """It is given a challenge, and not the value."""
        agent = str(agent_program(bench.folder))
        body = f'cat > got; [ "$1" = "$KEYTURN_CHALLENGE" ] || exit 9; exec {agent} report --instance="$2"'
        look = [program(bench, body), "{challenge}", "{instance}"]
        distributor = made(bench, command=[agent, "hand", "--instance={instance}"], look=look)
        hand(distributor)
        assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.USED
        assert (bench.folder / "got").read_text() == ""

    def test_proof_version_takes_its_word(self, bench: Bench) -> None:
        look = program(bench, f"""echo '{{"version": "{NEW}"}}'""")
        seen = {}
        for way in ("fingerprint", "version"):
            seen[way] = made(bench, look=[look], proof=way).look(WEB, VALUES[NEW], version=NEW).usage
        assert seen == {"fingerprint": Usage.UNKNOWN, "version": Usage.USED}

    @pytest.mark.parametrize(
        ("body", "usage"),
        [("exit 0", Usage.USED), ("exit 1", Usage.OTHER), ("exit 2", Usage.UNKNOWN), ("kill -9 $$", Usage.UNKNOWN)],
    )
    def test_proof_exit_code(self, bench: Bench, body: str, usage: Usage) -> None:
        proof = made(bench, look=[program(bench, f"cat; {body}")], proof="exit-code").look(
            WEB, VALUES[NEW], version=NEW
        )
        assert proof.usage is usage
        assert not hits(SECRETS, {"detail": proof.detail.encode()})

    def test_a_look_that_does_not_end_is_unknown(self, bench: Bench) -> None:
        proof = made(bench, timeout=0.3, look=["sleep", "60"]).look(WEB, VALUES[NEW], version=NEW)
        assert (proof.usage, proof.detail) == (Usage.UNKNOWN, "it did not end in time")


@pytest.mark.parametrize("name", ["nowhere-to-be-found", "./nowhere", "./secrets"])
def test_a_program_that_cannot_be_run_is_refused(bench: Bench, name: str) -> None:
    (bench.folder / "secrets").write_text("not executable")
    distributor = made(bench, command=[name], look=[name])
    with pytest.raises(Rejected):
        hand(distributor)
    assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN


def test_what_would_be_an_option_of_the_program_is_refused(bench: Bench) -> None:
    for name in ("-n", "\0"):
        with pytest.raises(Rejected):
            hand(made(bench, command=["true", "{instance}"]), Instance(name))


@pytest.mark.parametrize(
    ("limits", "body"),
    [
        ({"file_bytes": 10}, "head -c 100 /dev/zero > big"),
        ({"cpu_seconds": 1}, "while :; do :; done"),
        ({"processes": 2}, "sleep 9 & sleep 9 & sleep 9 & wait"),
        ({"memory_bytes": 64 * 1024**2}, f"{sys.executable} -ISc 'bytearray(200 * 1024**2)'"),
    ],
    ids=str,
)
def test_limits(bench: Bench, limits: dict[str, int], body: str) -> None:
    with pytest.raises(Uncertain):
        hand(made(bench, command=[program(bench, body)], limits=limits))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"command": []}, "command"),
        ({"look": []}, "look"),
        ({"command": ["./{instance}"]}, "same for all"),
        ({"command": ["a", "{host}"]}, "{host} is not known"),
        ({"command": ["a", "{challenge}"]}, "{challenge} is not known"),
        ({"command": ["a", "\0"]}, "zero byte"),
        ({"environment": {"KEYTURN_X": "1"}}, "cannot be set"),
        ({"environment": {"A": "{challenge}"}}, "{challenge} is not known"),
        ({"pass_value": "argument"}, "pass_value"),
        ({"proof": "stored"}, "proof"),
        ({"shell": True}, "unknown field"),
    ],
)
def test_what_cannot_be_meant_is_refused(bench: Bench, given: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        made(bench, **given)
