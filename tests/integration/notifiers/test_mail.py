"""Mails to a real server: how each way of TLS protects them, what an answer means, and that no password is told."""

from __future__ import annotations

import logging
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest

from adapters.notifiers.mail_notifier import EmailNotifier
from engine.errors import PortError, Rejected, SinkGone, Unavailable, Uncertain
from engine.notifier import Outgoing
from tests.integration.notifiers.mail_bench import NOTICE, SECRETS, notifier, send
from tests.sinks.certificates import ELSEWHERE, LOCAL, Authority, authority
from tests.sinks.mail import HOST, MailSink, mail_server, part


def test_a_mail_arrives_as_it_was_written_over_starttls(signing: Authority) -> None:
    """Logged in and encrypted; the texts and the thread are the ones that were rendered."""
    with mail_server(
        starttls=signing.context(LOCAL), username=SECRETS["env://SMTP_USER"], password=SECRETS["env://SMTP_PASSWORD"]
    ) as sink:
        channel = notifier(sink, ca_file=str(signing.file), has_login=True)
        outgoing = channel.render([NOTICE], key="message.1")
        receipt = channel.send(outgoing, key="message.1")
    subject, text, html = outgoing.readable
    assert receipt == "2.0.0 queued as 4ABC"
    assert sink.mail()["Subject"] == subject == "[keyturn] Rotation of production/app-db failed"
    assert part(sink.mail(), "plain") == f"{text}\n"
    assert part(sink.mail(), "html") == f"{html}\n"
    assert sink.mail()["Message-ID"] == "<message.1@example.test>"
    assert sink.taken[0].original_content == outgoing.content
    assert sink.sessions[0].ssl is not None
    assert sink.sessions[0].authenticated


def test_a_mail_arrives_over_implicit_tls(signing: Authority) -> None:
    with mail_server(
        implicit=signing.context(LOCAL), username=SECRETS["env://SMTP_USER"], password=SECRETS["env://SMTP_PASSWORD"]
    ) as sink:
        send(notifier(sink, ca_file=str(signing.file), has_login=True, smtp={"tls": "implicit"}))
    assert sink.mail()["To"] == "ops@example.test"
    assert sink.sessions[0].authenticated


def test_a_mail_arrives_in_the_clear_where_that_is_accepted() -> None:
    with mail_server() as sink:
        send(notifier(sink, smtp={"tls": "none-i-accept"}))
    assert sink.mail()["From"] == "keyturn <keyturn@example.test>"


def test_a_server_with_the_mechanism_login_alone_is_logged_in_to(signing: Authority) -> None:
    """As Exchange has it; in UTF-8 as well."""
    with mail_server(
        starttls=signing.context(LOCAL),
        username=SECRETS["env://SMTP_USER"],
        password=SECRETS["env://SMTP_PASSWORD"],
        without=("PLAIN",),
    ) as sink:
        send(notifier(sink, ca_file=str(signing.file), has_login=True))
    assert sink.sessions[0].authenticated


def test_a_line_that_begins_with_a_dot_stays_one() -> None:
    """Alone on its line a dot would end the mail, and what follows would be commands."""
    content = b"Subject: dots\r\n\r\n.\r\nQUIT\r\n..\r\nend\r\n"
    with mail_server() as sink:
        notifier(sink, smtp={"tls": "none-i-accept"}).send(Outgoing(content, "message/rfc822"), key="1")
    assert sink.taken[0].original_content == content


# --- what is not spoken to ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("fault", ["unknown authority", "another host", "expired"])
def test_a_certificate_that_is_wrong_is_not_spoken_to(signing: Authority, tmp_path: Path, tls: str, fault: str) -> None:
    """No login and no mail is sent; it may be put right, so it is tried again later."""
    signed_by = authority(tmp_path) if fault == "unknown authority" else signing
    hours = -1 if fault == "expired" else 1
    context = signed_by.context(ELSEWHERE if fault == "another host" else LOCAL, hours=hours)
    given: dict[str, Any] = {tls: context}
    with mail_server(username="somebody", password="canary-other", **given) as sink:
        channel = notifier(sink, ca_file=str(signing.file), has_login=True, smtp={"tls": tls})
        with pytest.raises(Unavailable, match="certificate is not trusted") as caught:
            send(channel)
    assert sink.sessions == []
    assert_no_secret(caught.value)


def test_a_server_of_an_authority_of_its_own_is_not_trusted_without_ca_file(signing: Authority) -> None:
    """By default the authorities of the system count, and nobody else."""
    with (
        mail_server(starttls=signing.context(LOCAL)) as sink,
        pytest.raises(Unavailable, match="certificate is not trusted") as caught,
    ):
        send(notifier(sink))
    assert "ca_file" in caught.value.advice


def test_a_server_without_starttls_gets_nothing() -> None:
    """Whoever takes the offer away on the way gets neither a login nor a mail."""
    with (
        mail_server(username="somebody", password="canary-other") as sink,
        pytest.raises(Rejected, match="does not offer STARTTLS, so nothing was sent"),
    ):
        send(notifier(sink, has_login=True))
    assert sink.sessions == []


def test_a_ca_file_that_cannot_be_read_is_told(tmp_path: Path, signing: Authority) -> None:
    with (
        mail_server(starttls=signing.context(LOCAL)) as sink,
        pytest.raises(Unavailable, match="`ca_file` cannot be read: No such file"),
    ):
        send(notifier(sink, ca_file=str(tmp_path / "missing.pem")))


def test_nobody_listens_is_unavailable() -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        with pytest.raises(Unavailable, match="Connection refused"):
            send(notifier(probe.getsockname()[1]))


# --- the login ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [(), ("PLAIN",)])
def test_a_wrong_password_is_for_all_mails(
    signing: Authority, without: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The channel rests until somebody corrects it, and the password stands nowhere."""
    caplog.set_level(logging.INFO)
    with (
        mail_server(
            starttls=signing.context(LOCAL), username="somebody", password="canary-other", without=without
        ) as sink,
        pytest.raises(SinkGone, match=r"refuses the login \(535\)") as caught,
    ):
        send(notifier(sink, ca_file=str(signing.file), has_login=True))
    assert "username" in caught.value.advice
    assert_no_secret(caught.value)
    assert sink.sessions == []


def test_a_server_that_takes_no_login_is_told(signing: Authority) -> None:
    with (
        mail_server(
            starttls=signing.context(LOCAL), username="somebody", password="canary-other", without=("PLAIN", "LOGIN")
        ) as sink,
        pytest.raises(SinkGone, match="offers no login"),
    ):
        send(notifier(sink, ca_file=str(signing.file), has_login=True))


def test_a_server_that_wants_a_login_and_gets_none_is_told(signing: Authority) -> None:
    with (
        mail_server(starttls=signing.context(LOCAL), username="somebody", password="canary-other") as sink,
        pytest.raises(Rejected, match="530") as caught,
    ):
        send(notifier(sink, ca_file=str(signing.file)))
    assert "username" in caught.value.advice


def assert_no_secret(error: PortError) -> None:
    """Look for the password, plain and as AUTH carries it, in all that an error tells."""
    told = "".join(traceback.format_exception(error)) + error.message + error.advice + repr(error.fields)
    encoded = ["canary", "Y2FuYXJ5", "AGtleXR1cm5AZXhhbXBsZS50ZXN0"]
    assert [each for each in encoded if each in told] == []
    assert error.__cause__ is None


# --- what answers mean --------------------------------------------------------------------------------------------


def plain(sink: MailSink, **given: Any) -> EmailNotifier:
    """Return a channel without TLS."""
    return notifier(sink, smtp={"tls": "none-i-accept"}, **given)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("451 4.7.1 greylisted, come back", Unavailable), ("421 closing", Unavailable), ("550 5.7.1 not you", Rejected)],
)
@pytest.mark.parametrize("place", ["answer_mail", "answers_rcpt", "answer_data"])
def test_an_answer_4xx_is_for_now_and_5xx_for_good(answer: str, kind: type[PortError], place: str) -> None:
    """Wherever it comes; and nothing was taken."""
    given: Any = {"ops@example.test": answer} if place == "answers_rcpt" else answer
    with mail_server(**{place: given}) as sink, pytest.raises(PortError) as caught:
        send(plain(sink))
    assert type(caught.value) is kind
    assert answer in caught.value.message
    assert sink.taken == []


def test_one_refused_recipient_does_not_keep_the_mail_from_the_others() -> None:
    """It is delivered; who was refused stands in the receipt, without being named in full."""
    with mail_server(answers_rcpt={"gone@example.test": "550 5.1.1 no such user"}) as sink:
        receipt = send(plain(sink, to=["gone@example.test", "ops@example.test"]))
    assert sink.taken[0].rcpt_tos == ["ops@example.test"]
    assert receipt == "2.0.0 queued as 4ABC; not accepted for g…@example.test (550)"


def test_of_several_refusals_the_one_for_now_decides() -> None:
    """Somebody may get it yet."""
    answers = {"gone@example.test": "550 no such user", "ops@example.test": "450 greylisted"}
    with mail_server(answers_rcpt=answers) as sink, pytest.raises(Unavailable, match="450 greylisted"):
        send(plain(sink, to=["gone@example.test", "ops@example.test"]))


def test_bcc_stands_in_the_envelope_alone() -> None:
    """And who is named twice gets one mail."""
    with mail_server() as sink:
        send(plain(sink, cc=["lead@example.test"], bcc=["audit@example.test", "ops@example.test"]))
    assert sink.taken[0].rcpt_tos == ["ops@example.test", "lead@example.test", "audit@example.test"]
    assert b"audit" not in (sink.taken[0].original_content or b"")
    assert sink.mail()["Cc"] == "lead@example.test"


def test_a_connection_that_ends_after_the_whole_mail_is_uncertain() -> None:
    """The server took it, and could not say so."""
    with mail_server(answer_data="drop") as sink, pytest.raises(Uncertain, match="all was sent, and not answered"):
        send(plain(sink))
    assert len(sink.taken) == 1


def test_what_is_configured_of_a_mail_is_in_it() -> None:
    """Who answers are for, what subjects begin with, and the name that the server is given."""
    smtp = {"tls": "none-i-accept", "helo": "keyturn.example.test"}
    with mail_server() as sink:
        send(notifier(sink, smtp=smtp, reply_to="answers@example.test", subject_prefix="[prod]"))
    assert sink.mail()["Reply-To"] == "answers@example.test"
    assert sink.mail()["Subject"] == "[prod] Rotation of production/app-db failed"
    assert sink.sessions[0].host_name == "keyturn.example.test"


def test_the_size_is_announced() -> None:
    """So that a server can refuse before it has read all."""
    with mail_server() as sink:
        channel = plain(sink)
        outgoing = channel.render([NOTICE], key="1")
        channel.send(outgoing, key="1")
    assert f"SIZE={len(outgoing.content)}" in [option.upper() for option in sink.taken[0].mail_options]
