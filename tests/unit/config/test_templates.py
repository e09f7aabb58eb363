"""What is written to a published place: Jinja2, as much as is needed, checked when the configuration is read."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from adapters.config.templates import LENGTH_MAX, TemplateFault, compile_template
from engine.errors import Rejected
from tests.unit.config.reading import only, reads, service

VALUES = {"username": "app", "password": "canary-p/w?", "service": "app-db", "environment": "prod", "port": 5432}


def rendered(text: str) -> str:
    """Return a template filled with the values of this file."""
    return compile_template(text, list(VALUES)).render(VALUES, what="publishing").reveal()


def fault(text: str) -> TemplateFault:
    """Return what is said against a template."""
    with pytest.raises(TemplateFault) as raised:
        compile_template(text, list(VALUES))
    return raised.value


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ password }}", "canary-p/w?"),
        ("plain", "plain"),
        ("", ""),
        ("pg://{{ username|urlencode }}:{{ password|urlencode }}@h:{{ port }}", "pg://app:canary-p%2Fw%3F@h:5432"),
        ("{{ password | b64encode }}", "Y2FuYXJ5LXAvdz8="),
        ('{"p": {{ password|tojson }}}\n', '{"p": "canary-p/w?"}\n'),
        ("{% if port == 5432 %}a{% else %}b{% endif %}", "a"),
        ("{{ 'a' if port == 1 else 'b' }}", "b"),
        ("{{.ServiceName}}/{{ .Environment }}", "app-db/prod"),
        ("{{ ServiceName }}", "app-db"),
        ("{{.Username|urlencode}}", "app"),
        ("{{- .NewSecretValue -}}", "canary-p/w?"),
        ("{# a comment #}x", "x"),
        ("<{{ password }}>", "<canary-p/w?>"),
    ],
)
def test_a_template_is_filled(text: str, result: str) -> None:
    """With the names of keyturn, or those of dsops; nothing is escaped but what is asked for."""
    assert rendered(text) == result


@pytest.mark.parametrize("character", [chr(code) for code in range(0x21, 0x7F)])
def test_urlencode_quotes_everything_that_is_reserved(character: str) -> None:
    """RFC 3986, 2.3: what is unreserved stays; all the rest is quoted, the slash too."""
    template = compile_template("{{ password|urlencode }}", ["password"])
    quoted = template.render({"password": character}, what="").reveal()
    unreserved = character.isalnum() or character in "-._~"
    assert quoted == (character if unreserved else f"%{ord(character):02X}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ pasword }}", "Did you mean 'password'?"),
        ("{{ .Pasword }}", "Did you mean 'password'?"),
        ("{{ host }}", "Names here: environment, password, port, service, username."),
        ("{% if hst %}{% endif %}", "Names here"),
    ],
)
def test_a_name_that_is_not_known_is_refused_before_anything_is_written(text: str, hint: str) -> None:
    assert fault(text).hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{{if eq .Status "success"}}a{{end}}', "{% if"),
        ("{{ range .Items }}", "nothing to repeat"),
        ("{{end}}", "{% endif %}"),
        ("{{ else }}", "{% else %}"),
        ("{{- with .X }}", "{% if"),
        ('{{ template "x" }}', "write the text out"),
        ("{{ urlquery .Password }}", "{{ name|urlencode }}"),
    ],
)
def test_a_control_word_of_go_is_refused_with_the_form_of_jinja(text: str, hint: str) -> None:
    found = fault(text)
    assert "control word of Go" in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ password.__class__.__mro__ }}",
        "{{ password['x'] }}",
        "{{ range(10) }}",
        "{{ password() }}",
        "{{ 9**9**9 }}",
        "{{ 'x' * 10000000000 }}",
        "{{ password ~ password }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ password|attr('x') }}",
        "{{ password|urlencode('x') }}",
        "{{ password|default('x') }}",
        "{{ [password] }}",
        "{% for x in password %}{% endfor %}",
        "{% set x = password %}",
        "{% macro x() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% raw",
        "{{ password",
        "{% if port %}",
        "{{ }}",
        "{{ password|nothing }}",
        "{{ " + "9" * 5000 + " }}",
        "{{ " + "(" * 2000 + "port" + ")" * 2000 + " }}",
        "{{ " + "not " * 1500 + "port }}",
        "{% if port %}" * 300 + "{% endif %}" * 300,
        "x" * (LENGTH_MAX + 1),
    ],
)
def test_whatever_else_jinja_can_do_is_refused_at_once(text: str) -> None:
    """No loop, no call, no arithmetic, no attribute; nor does refusing it take long."""
    started = time.perf_counter()
    assert fault(text).message
    assert time.perf_counter() - started < 0.5


def test_an_error_of_filling_shows_no_value() -> None:
    """A lone surrogate cannot be quoted; the codec's own error would show it."""
    template = compile_template("{{ password|urlencode }}", ["password"])
    with pytest.raises(Rejected) as raised:
        template.render({"password": "canary-\ud800"}, what="publishing app to held:x")
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_what_becomes_too_large_is_refused() -> None:
    template = compile_template("{{ password }}" * 20, ["password"])
    with pytest.raises(Rejected, match="64 KiB"):
        template.render({"password": "canary" * 1000}, what="publishing")


def test_the_result_is_a_secret() -> None:
    assert "canary" not in repr(compile_template("{{ password }}", ["password"]).render(VALUES, what=""))


def test_a_template_may_use_the_options_that_are_set(plugin: object) -> None:
    """Plain ones; a reference is not plain, and an option without a value has no name."""
    text = "publish: [{store: other, key: x, template: '{{ %s }}'}]"
    for name in ("host", "port", "tls", "ratio", "username", "version", "environment"):
        assert "app" in reads(service(target="widget", strategy="single", keys=f"host: x\n    {text % name}")).services
    for name in ("database", "token", "admin_credentials", "nodes", "labels"):
        problem = only(service(target="widget", strategy="single", keys=f"host: x\n    {text % name}"))
        assert problem.key == "services.app.publish[0].template"


def test_jinja_is_not_imported_before_a_template_is_compiled() -> None:
    """It costs some 30 ms, which the command line does not spend for nothing."""
    probe = "import adapters.config.load, adapters.config.build, sys; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
