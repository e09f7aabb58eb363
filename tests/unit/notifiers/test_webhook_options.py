"""What the options of a webhook may be: each wrong one is named before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.http_auth import Auth
from adapters.notifiers.webhook import ADAPTER
from adapters.notifiers.webhook_options import WebhookOptions, is_json
from engine.adapter import Duration
from engine.notices import NoticeKind
from engine.values import SECOND, Microseconds
from tests.unit.notifiers.drawn import of
from tests.unit.notifiers.webhook_bench import bearer, reference, retry, webhook


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "PUT"},
        {"headers": {"X-Team": "platform", "X-Service": "{{.ServiceName}}"}},
        {"headers": {"Authorization": "Token {{ Token }}"}, "auth": bearer()},
        {"auth": Auth(type="basic", username=reference("USER"), password=reference("PASSWORD"))},
        {"auth": Auth(type="custom", header="X-API-Key", value=reference("TOKEN"))},
        {"signing_secret": reference("SIGNING"), "previous_signing_secret": reference("PREVIOUS")},
        {"format": "dsops", "content_type": "application/vnd.bus+json; charset=utf-8"},
        {"payload_template": '{"service": "{{.ServiceName}}"}'},
        {"payload_template": "{{ text }}", "content_type": "text/plain"},
        {"allow_http": True},
        {"allow_private": ("10.0.0.0/8", "fd00::/8")},
        {"timeout": Duration(60 * SECOND)},
    ],
)
def test_sensible_options_have_no_problem(options: dict[str, Any]) -> None:
    assert list(webhook(**options).validate()) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://hooks.example/"}, "allow_http"),
        ({"url": "https://user:canary@hooks.example/"}, "user name"),
        ({"url": "https://127.0.0.1/"}, "allow_private"),
        ({"url": "https://169.254.169.254/", "allow_private": ("169.254.0.0/16",)}, "not public"),
        ({"url": "https://localhost/"}, "localhost"),
        ({"allow_private": ("10.0.0.1/8",)}, "no network"),
        ({"headers": {"Host": "evil.example"}}, "keyturn's"),
        ({"headers": {"content-length": "5"}}, "keyturn's"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "keyturn's"),
        ({"headers": {"Webhook-Id": "5"}}, "keyturn's"),
        ({"headers": {"webhook-anything": "5"}}, "keyturn's"),
        ({"headers": {"Content-Type": "text/plain"}}, "content_type"),
        ({"headers": {"Idempotency-Key": "5"}}, "keyturn's"),
        ({"headers": {"Proxy-Authorization": "5"}}, "keyturn's"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "one line"),
        ({"headers": {"X-A": "a\nb"}}, "one line"),
        ({"headers": {"X-A": "\u00e9"}}, "visible ASCII"),
        ({"headers": {"X A": "a"}}, "no name of a header"),
        ({"headers": {"X-A\r\nX-B": "a"}}, "no name of a header"),
        ({"headers": {"": "a"}}, "no name of a header"),
        ({"headers": {"X-A": "a", "x-a": "b"}}, "twice"),
        ({"headers": {"X-A": "{{ Pasword }}"}}, "not known"),
        ({"headers": {"X-A": "{{ Password }}"}}, "not known"),
        ({"headers": {"X-A": "{{ password }}"}}, "not known"),
        ({"headers": {"X-A": "{{ ''.__class__ }}"}}, "only names"),
        ({"headers": {"X-A": "{{ Token }}"}}, "auth.token"),
        ({"headers": {"X-A": "{{ Token }} {{ service }}"}, "auth": bearer()}, "without other names"),
        ({"headers": {"Authorization": "Bearer canary"}}, "by `auth`"),
        ({"headers": {"x-api-key": "canary"}}, "by `auth`"),
        ({"auth": Auth(type="bearer")}, "takes `token`"),
        ({"auth": Auth(type="bearer", token=reference("A"), value=reference("A"))}, "takes `token`"),
        ({"auth": Auth(type="basic", username=reference("A"))}, "takes `username` and `password`"),
        ({"auth": Auth(type="custom", header="X-A")}, "takes `header` and `value`"),
        ({"auth": Auth(type="custom", header="Host", value=reference("A"))}, "keyturn's"),
        ({"auth": Auth(type="custom", header="X-A", value=reference("A")), "headers": {"x-a": "b"}}, "its secret in"),
        ({"previous_signing_secret": reference("PREVIOUS")}, "missing"),
        ({"content_type": "json"}, "type/subtype"),
        ({"content_type": "text/plain\r\nX-B: b", "payload_template": "x"}, "type/subtype"),
        ({"content_type": "text/plain"}, "needs a `payload_template`"),
        ({"timeout": Duration(0)}, "timeout"),
        ({"timeout": Duration(61 * SECOND)}, "timeout"),
        ({"retry": retry(max=Duration(1))}, "shorter"),
        ({"ca_file": "missing.pem"}, "no file"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], problem: str) -> None:
    found = list(webhook(**options).validate())
    assert len(found) == 1
    assert problem in found[0]
    assert "canary" not in found[0]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ nothing }}", "not known"),
        ("{{ Token }}", "not known"),
        ("{{ token }}", "not known"),
        ("{{.Pasword}}", "not known"),
        ("{{ ''.__class__ }}", "only names"),
        ("{{ service.__class__.__mro__ }}", "only names"),
        ("{{ events[0] }}", "only names"),
        ("{{ events|map(attribute='x') }}", "no such filter"),
        ("{{ service|attr('__class__') }}", "no such filter"),
        ("{{ cycler }}", "not known"),
        ("{{ 'x' * 1000000000 }}", "only names"),
        ("{% for x in events %}{% endfor %}", "only names"),
        ("{% set x = service %}", "only names"),
        ("{% include 'x' %}", "only names"),
        ('{{if eq .Status "success"}}{}{{end}}', "control word of Go"),
        ("{{ range .Events }}", "control word of Go"),
        ("{{ service", "not a template"),
        ("{{ service }}", "no JSON"),
        ('{"service": {{ service }}}', "no JSON"),
        ('{"a": NaN}', "no JSON"),
        ("", ""),
        ('{"a": "' + "x" * 8_150 + '"}', ""),
        ('{"a": 1}' + " " * 8_190, "longer than 8 KiB"),
        ('{{ "' + "x" * 2_600 + '" }}' * 3, "no JSON"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(template: str, problem: str) -> None:
    found = list(webhook(payload_template=template).validate())
    if not problem:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith("`payload_template`: ")
        assert problem in found[0]


def test_a_go_control_word_is_answered_with_the_form_of_jinja() -> None:
    (problem,) = webhook(payload_template='{{if eq .Status "success"}}{}{{end}}').validate()
    assert "{% if" in problem


def test_a_certificate_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificates")
    assert list(webhook(base=tmp_path, ca_file="ca.pem").validate()) == []


def test_retries_are_told_to_whoever_sends() -> None:
    assert webhook().pace.attempts == 3
    assert webhook().pace.is_exponential
    given = retry(max_attempts=7, backoff="fixed", initial=Duration(5 * SECOND), max=Duration(60 * SECOND))
    pace = webhook(retry=given).pace
    assert (pace.attempts, pace.first, pace.longest) == (7, Microseconds(5 * SECOND), Microseconds(60 * SECOND))
    assert not pace.is_exponential


def test_what_is_selected_is_told() -> None:
    notice = of(NoticeKind.STARTED)
    assert webhook().supports(notice, selected=True)
    assert not webhook().supports(notice, selected=False)


def test_services_with_one_url_have_one_sink() -> None:
    one = WebhookOptions(url="https://hooks.example/a")
    same = WebhookOptions(url="https://hooks.example/a", format="dsops", signing_secret=reference("SIGNING"))
    assert ADAPTER.sink(one) == ADAPTER.sink(same)
    assert ADAPTER.sink(one) != ADAPTER.sink(WebhookOptions(url="https://hooks.example/b"))


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("application/cloudevents+json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/plain", False),
        ("application/jsonp", False),
        ("application/x-www-form-urlencoded", False),
    ],
)
def test_json_is_told_by_the_media_type(content_type: str, *, expected: bool) -> None:
    assert is_json(content_type) is expected
