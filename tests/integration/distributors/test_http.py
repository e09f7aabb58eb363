"""Handing out over HTTP: every option does what it says, and every way to fail says what is known."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from adapters.distributors import http
from engine.errors import PortError, Rejected, Throttled, Unavailable, Uncertain
from engine.instances import Distributor, Instance, Usage
from engine.values import CredentialValue, Secret
from tests.contract.distributors import NEW, OLD, VALUES, soon
from tests.integration.distributor_bench import HERE, Bench, bench
from tests.sinks.instance import Answer, Fault, ServedInstance, serving
from tests.sinks.webhook import certified

__all__ = ["bench"]

ONE = "whsec_" + base64.b64encode(b"canary-signing-one-of-32-bytes-x").decode()
TWO = "whsec_" + base64.b64encode(b"canary-signing-two-of-32-bytes-x").decode()
SECRETS = {"ONE": ONE, "TWO": TWO, "TOKEN": "canary-token", "LINES": "canary-a\r\nX-Injected: b"}
BEARER = {"type": "bearer", "token": "env://TOKEN"}
PLAIN = {"signing_secret": "env://ONE", "allow_http": True, "allow_private": [HERE]}


@pytest.fixture
def served() -> Iterator[ServedInstance]:
    """An instance that has the new password already, so that a reference is enough."""
    with serving() as instance:
        instance.password = VALUES[NEW].revealed()
        yield instance


def made(bench: Bench, *, timeout: float = 1.0, **options: Any) -> Distributor:
    """Return a distributor with these options besides those that a server on this machine needs."""
    return bench.distributor(http.ADAPTER, SECRETS, timeout=timeout, **{**PLAIN, **options})


def hand(distributor: Distributor, instance: Instance, value: CredentialValue = VALUES[NEW]) -> None:
    """Hand the new version out."""
    distributor.hand(instance, value, version=NEW, deadline=soon())


def test_an_instance_is_told_where_to_read_and_never_the_value(bench: Bench, served: ServedInstance) -> None:
    hand(made(bench), served.instance)
    (told,) = served.asked("POST")
    assert told.json == {
        "type": "credential.version",
        "service": "app-db",
        "environment": "production",
        "instance": "web-1",
        "version": NEW,
        "store": "local",
        "key": "production/app-db",
    }
    assert told.path == "/keyturn/version"
    assert not [each for each in served.requests if b"canary" in each.body or "canary" in str(each.headers)]


def test_what_is_told_is_signed_and_new_each_time(bench: Bench, served: ServedInstance) -> None:
    """A receiver that drops what it has seen before must not drop a version that comes back."""
    distributor = made(bench)
    hand(distributor, served.instance)
    hand(distributor, served.instance)
    first, second = served.asked("POST")
    for told in (first, second):
        Webhook(ONE).verify(told.body, dict(told.headers))
    assert first.headers["webhook-id"] != second.headers["webhook-id"]


def test_a_challenge_is_never_used_again(bench: Bench, served: ServedInstance) -> None:
    distributor = made(bench)
    for _ in range(3):
        distributor.look(served.instance, VALUES[NEW], version=NEW)
    challenges = {each.challenge for each in served.asked("GET")}
    assert len(challenges) == 3
    assert all(len(each) == 64 for each in challenges)


def test_an_answer_that_was_kept_from_before_proves_nothing(bench: Bench, served: ServedInstance) -> None:
    """A cache between keyturn and the instance answers with an older proof."""
    distributor = made(bench)
    served.version = NEW
    assert distributor.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.USED
    kept = served.report(served.asked("GET")[0].challenge)
    served.order("GET", Answer(200, kept))
    assert distributor.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN


class TestOptions:
    """Each fails where its option is ignored."""

    def test_path(self, bench: Bench, served: ServedInstance) -> None:
        hand(made(bench, path="/use"), served.instance)
        assert served.asked("POST")[0].path == "/use"

    def test_report_path(self, bench: Bench, served: ServedInstance) -> None:
        made(bench, report_path="/told?of=db").look(served.instance, VALUES[NEW], version=NEW)
        assert served.asked("GET")[0].path.startswith("/told?of=db&challenge=")

    def test_proof(self, bench: Bench, served: ServedInstance) -> None:
        """That an instance says so is enough where that is asked for, and only then."""
        served.version, served.password = NEW, "canary-of-nobody"
        by_word = made(bench, proof="version").look(served.instance, VALUES[NEW], version=NEW)
        by_proof = made(bench).look(served.instance, VALUES[NEW], version=NEW)
        assert (by_word.usage, by_proof.usage) == (Usage.USED, Usage.UNKNOWN)

    def test_signing_secret_and_the_previous_one(self, bench: Bench, served: ServedInstance) -> None:
        hand(made(bench, signing_secret="env://TWO", previous_signing_secret="env://ONE"), served.instance)
        hand(made(bench, signing_secret="env://TWO"), served.instance)
        both, one = served.asked("POST")
        assert len(both.headers["webhook-signature"].split()) == 2
        Webhook(ONE).verify(both.body, dict(both.headers))
        Webhook(TWO).verify(both.body, dict(both.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(ONE).verify(one.body, dict(one.headers))

    def test_auth(self, bench: Bench, served: ServedInstance) -> None:
        distributor = made(bench, signing_secret=None, auth=BEARER)
        hand(distributor, served.instance)
        assert {each.headers["authorization"] for each in served.requests} == {"Bearer canary-token"}
        assert {each.method for each in served.requests} == {"GET", "POST"}
        assert "webhook-signature" not in served.asked("POST")[0].headers

    def test_allow_http(self, bench: Bench, served: ServedInstance) -> None:
        self._is_refused(made(bench, allow_http=False), served, "must begin with https")

    def test_allow_private(self, bench: Bench, served: ServedInstance) -> None:
        self._is_refused(made(bench, allow_private=["10.0.0.0/8"]), served, "not public")

    def test_send_value_and_ca_file(self, bench: Bench, tmp_path: Path) -> None:
        context, ca_file = certified(tmp_path, "127.0.0.1")
        options = {"send_value": True, "allow_http": False}
        with serving(context) as served:
            distributor = made(bench, ca_file=ca_file, **options)
            hand(distributor, served.instance)
            assert served.asked("POST")[0].json["password"] == VALUES[NEW].revealed()
            assert served.asked("POST")[0].json["username"] == "app_b"
            assert distributor.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.USED
            with pytest.raises(Unavailable, match="CERTIFICATE"):
                hand(made(bench, **options), served.instance)
            with pytest.raises(Rejected, match="ca_file"):
                hand(made(bench, ca_file="nowhere.pem", **options), served.instance)
            with pytest.raises(Rejected, match="not known"):
                hand(distributor, served.instance, CredentialValue("app", None))

    @staticmethod
    def _is_refused(distributor: Distributor, served: ServedInstance, why: str) -> None:
        with pytest.raises(Rejected, match=why):
            hand(distributor, served.instance)
        proof = distributor.look(served.instance, VALUES[NEW], version=NEW)
        assert proof.usage is Usage.UNKNOWN
        assert why in proof.detail
        assert not served.requests

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"signing_secret": None}, "`signing_secret` or `auth`"),
            ({"signing_secret": None, "auth": BEARER, "previous_signing_secret": "env://ONE"}, "missing"),
            ({"send_value": True}, "over TLS alone"),
            ({"path": "keyturn"}, "`path`: it begins with /"),
            ({"report_path": "/a b"}, "`report_path`"),
            ({"allow_private": ["10.0.0.1/8"]}, "`allow_private`"),
            ({"auth": {"type": "bearer"}}, "`token`"),
            ({"proof": "hearsay"}, "proof"),
            ({"ttl": 5}, "unknown field"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_meant_is_refused(self, bench: Bench, given: dict[str, Any], why: str) -> None:
        with pytest.raises(msgspec.ValidationError, match=why):
            made(bench, **given)


class TestOutcomes:
    """What is known after each way to fail."""

    @pytest.mark.parametrize(
        ("met", "error"),
        [
            (Answer(400), Rejected),
            (Answer(401), Rejected),
            (Answer(404), Rejected),
            (Answer(410), Rejected),
            (Answer(302, headers=(("location", "/elsewhere"),)), Rejected),
            (Answer(429, headers=(("retry-after", "7"),)), Throttled),
            (Answer(503), Unavailable),
            (Answer(500), Uncertain),
            (Answer(502), Uncertain),
            (Fault.LOST_ANSWER, Uncertain),
            (Fault.SILENCE, Uncertain),
            (Fault.DRIP, Uncertain),
        ],
    )
    def test_a_request_that_failed(
        self, bench: Bench, served: ServedInstance, met: Answer | Fault, error: type[PortError]
    ) -> None:
        served.order("POST", met)
        began = time.monotonic()
        with pytest.raises(error) as raised:
            hand(made(bench, timeout=0.3), served.instance)
        assert type(raised.value) is error
        assert time.monotonic() - began < 1.5
        assert len(served.requests) == 1
        assert "canary" not in str(raised.value.fields)

    @pytest.mark.parametrize(
        "met",
        [
            Answer(500),
            Answer(302, headers=(("location", "/elsewhere"),)),
            Answer(200, b"[]"),
            Answer(200, b"{" * 5_000),
            Answer(200, b'{"version": "' + b"x" * 20_000 + b'"}'),
            Answer(200, b'{"version": 7}'),
            Answer(200, b'{"version": "' + NEW.encode() + b'"}'),
            Answer(200, b'{"version": "' + NEW.encode() + b'", "proof": "canary"}'),
            Answer(200, b'{"version": "' + NEW.encode() + b'", "proof": "' + b"0" * 64 + b'"}'),
            Fault.SILENCE,
            Fault.DRIP,
            Fault.LOST_ANSWER,
        ],
        ids=str,
    )
    def test_a_report_that_proves_nothing(self, bench: Bench, served: ServedInstance, met: Answer | Fault) -> None:
        served.order("GET", met)
        proof = made(bench, timeout=0.3).look(served.instance, VALUES[NEW], version=NEW)
        assert proof.usage is Usage.UNKNOWN
        assert proof.detail
        assert "canary" not in proof.detail

    def test_a_version_of_nobody_is_not_told(self, bench: Bench, served: ServedInstance) -> None:
        """An application may report its password by mistake."""
        served.version, served.password = "canary-password", "canary-password"
        for wanted in ("version", "fingerprint"):
            proof = made(bench, proof=wanted).look(served.instance, VALUES[NEW], version=NEW)
            assert proof.usage is Usage.OTHER
            assert "canary" not in proof.detail

    def test_an_instance_that_uses_none_says_so(self, bench: Bench, served: ServedInstance) -> None:
        assert made(bench).look(served.instance, VALUES[NEW], version=NEW).usage is Usage.OTHER

    def test_what_is_taken_for_later_is_uncertain_until_it_is_seen(self, bench: Bench, served: ServedInstance) -> None:
        served.order("POST", Answer(202))
        with pytest.raises(Uncertain, match="for later"):
            hand(made(bench, timeout=0.2), served.instance)
        served.order("POST", Answer(202))
        served.version = NEW
        hand(made(bench, timeout=2), served.instance)

    def test_what_is_taken_is_told_whether_or_not_it_is_seen(self, bench: Bench, served: ServedInstance) -> None:
        """That an instance was told is no proof, and no failure either; its report is asked until the time is over."""
        served.password = "canary-of-nobody"
        hand(made(bench, timeout=0.3), served.instance)
        assert len(served.asked("GET")) > 1

    def test_whoever_told_it_is_not_kept_waiting(self, bench: Bench, served: ServedInstance) -> None:
        """An instance that takes its time is looked at again later; others wait for the same batch."""
        served.password = "canary-of-nobody"
        began = time.monotonic()
        made(bench, timeout=60).hand(served.instance, VALUES[NEW], version=NEW, deadline=soon(60))
        assert time.monotonic() - began < 8

    def test_the_deadline_ends_the_waiting(self, bench: Bench, served: ServedInstance) -> None:
        served.order("POST", Fault.SILENCE)
        began = time.monotonic()
        with pytest.raises(Uncertain):
            made(bench, timeout=30).hand(served.instance, VALUES[NEW], version=NEW, deadline=soon(0.3))
        assert time.monotonic() - began < 2

    @pytest.mark.parametrize("endpoint", ["", "ftp://127.0.0.1", "http://user@127.0.0.1", "http://127.0.0.1/?a=b"])
    def test_an_endpoint_that_is_none_is_refused(self, bench: Bench, endpoint: str) -> None:
        distributor, instance = made(bench), Instance("web-1", endpoint=endpoint)
        with pytest.raises(Rejected):
            hand(distributor, instance)
        assert distributor.look(instance, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN

    def test_a_secret_that_cannot_stand_in_a_header_is_refused(self, bench: Bench, served: ServedInstance) -> None:
        with pytest.raises(Rejected, match="visible ASCII") as raised:
            hand(made(bench, auth={"type": "bearer", "token": "env://LINES"}), served.instance)
        assert "canary" not in str(raised.value.fields)
        assert not served.requests


def test_the_old_version_is_other_where_another_is_reported(bench: Bench, served: ServedInstance) -> None:
    served.version = NEW
    proof = made(bench).look(served.instance, VALUES[OLD], version=OLD)
    assert proof.usage is Usage.OTHER
    assert NEW in proof.detail
    assert made(bench).look(served.instance, CredentialValue("a", Secret("\ud800")), version=OLD).usage is Usage.OTHER
