"""Adapters are built when they are asked for, with all that the configuration says about them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.config.build import Wiring
from adapters.config.problems import ConfigInvalid
from adapters.registry import MissingDriver
from engine.errors import NoSuchService, Rejected
from engine.passwords import ALPHABETS, PasswordRule
from engine.ports import Place, SecretStore, Target
from engine.values import CURRENT, CredentialValue, Form, Secret
from tests.unit.config.reading import reads, service

URL = "'{{ service }}/{{ environment }}/{{ version }}: {{ username }}:{{ password|urlencode }}'"


def wired(tmp_path: Path, text: str) -> Wiring:
    """Return the wiring of a configuration, its file and state in a folder of the test."""
    path = tmp_path / "keyturn.yaml"
    path.write_text(text)
    from adapters.config.load import load

    return Wiring(load(path), tmp_path / "state")


def stated(tmp_path: Path, text: str) -> Wiring:
    """Return the same, and make the state folder."""
    (tmp_path / "state").mkdir(mode=0o700, exist_ok=True)
    return wired(tmp_path, text)


def value(text: str) -> CredentialValue:
    """Return a value of the login `app`."""
    return CredentialValue("app", Secret(text))


def test_a_store_and_a_target_are_built_once(tmp_path: Path) -> None:
    wiring = wired(tmp_path, service())
    assert isinstance(wiring.store("held"), SecretStore)
    assert isinstance(wiring.target("app"), Target)
    assert wiring.store("held") is wiring.store("held")
    assert wiring.store("held") is not wiring.store("other")
    assert wiring.target("app") is wiring.target("app")
    assert wiring.held_in("app") is wiring.store("held")


def test_nothing_is_built_before_it_is_asked_for(tmp_path: Path) -> None:
    """Reading a configuration opens no store and makes no file."""
    wired(tmp_path, service(keys="publish: [{store: plain, key: APP}]"))
    assert [path.name for path in tmp_path.iterdir()] == ["keyturn.yaml"]


def test_a_target_is_told_all_that_it_needs(tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Service, environment, strategy, logins, folders, and the time that verifying may take."""
    (plugin / "keyturn_widget.py").write_text(
        (plugin / "keyturn_widget.py").read_text().replace("import a_driver_that_nobody_has", "return options, context")
    )
    monkeypatch.setenv("WIDGET", "canary-token")
    keys = "host: x\n    environment: production\n    token: env://WIDGET"
    rotation = "usernames: [a, b], verification: {timeout: 7s}"
    wiring = wired(tmp_path, service(target="widget", strategy="alternating", keys=keys, rotation=rotation))
    built: Any = wiring.target("app")
    options, context = built
    assert options.host == "x"
    told = (context.service, context.environment, context.strategy, context.username, context.usernames)
    assert told == ("app", "production", "alternating", "app", ("a", "b"))
    assert (context.base, context.state) == (tmp_path, tmp_path / "state")
    assert context.verification_timeout == 7_000_000
    assert context.secret(options.token) == Secret("canary-token")
    monkeypatch.delenv("WIDGET")
    with pytest.raises(Rejected, match=r"reading env://WIDGET \(services\.app\.token\)"):
        context.secret(options.token)


def test_other_strategies_have_the_one_login(tmp_path: Path) -> None:
    assert wired(tmp_path, service()).service("app").usernames == ("app",)


def test_a_driver_that_is_not_installed_is_named_with_its_extra(tmp_path: Path, plugin: Path) -> None:
    wiring = wired(tmp_path, service(target="widget", strategy="single", keys="host: x"))
    with pytest.raises(MissingDriver) as raised:
        wiring.target("app")
    assert "'a_driver_that_nobody_has'" in raised.value.message
    assert raised.value.advice == 'Install it: pip install "keyturn[widgets]".'
    with pytest.raises(MissingDriver):
        wired(tmp_path, "version: 1\nsecretStores: {d: {type: drawer}}").store("d")


def test_a_service_that_is_not_there_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(NoSuchService, match=r"'appp'\. Did you mean 'app'"):
        wired(tmp_path, service()).service("appp")


def test_a_store_that_turns_out_to_keep_one_value_holds_no_credential(tmp_path: Path, plugin: Path) -> None:
    """Its adapter should have declared it; what it says of itself when it is built decides."""
    source = (plugin / "keyturn_widget.py").read_text()
    (plugin / "keyturn_widget.py").write_text(
        source.replace(
            "import a_driver_that_nobody_has",
            "from adapters.stores import env_file\n"
            "    return env_file.ADAPTER.build(env_file.Options(path='x.env'), context)",
        )
    )
    text = service().replace("{type: memory}", "{type: drawer}")
    with pytest.raises(ConfigInvalid, match=r"services\.app\.credential\.store"):
        wired(tmp_path, text).held_in("app")


def test_a_place_gets_the_value_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    """In a store with versions, and in a file with one value."""
    keys = f"publish: [{{store: other, key: x, template: {URL}}}, {{store: plain, key: APP}}]"
    wiring = stated(tmp_path, service(keys=keys))
    versioned, plain = wiring.places("app")
    assert isinstance(versioned, Place)
    assert (versioned.name, plain.name) == ("other:x", "plain:APP")
    assert versioned.read() is None
    for place in (versioned, plain):
        place.publish(value("canary-1/2"), version="v1")
        place.publish(value("canary-1/2"), version="v1")
    published = versioned.read()
    assert published is not None
    assert published.revealed() == "app/default/v1: app:canary-1%2F2"
    (form,) = wiring.store("other").versions("x").versions
    assert form.startswith("v1.")
    assert "canary-1/2" in (tmp_path / "app.env").read_text()


def test_a_place_goes_back_to_a_version_that_it_had(tmp_path: Path) -> None:
    wiring = stated(tmp_path, service(keys="publish: [{store: other, key: x}]"))
    (place,) = wiring.places("app")
    for version in ("v1", "v2", "v1"):
        place.publish(value(f"canary-{version}"), version=version)
    current = wiring.store("other").read("x", CURRENT)
    assert current == value("canary-v1")


def test_a_version_is_published_again_in_another_form(tmp_path: Path) -> None:
    """The template was edited, so the version looks different; its id tells the forms apart and not the secret."""
    store = stated(tmp_path, service()).store("other")
    for template in ("{{ password }}", "pw={{ password }}", "{{ password }}"):
        keys = f"publish: [{{store: other, key: x, template: '{template}'}}]"
        (place,) = wired(tmp_path, service(keys=keys)).places("app")
        replace(place, store=store).publish(value("canary-1"), version="v1")
        assert store.read("x", CURRENT) == value(template.replace("{{ password }}", "canary-1"))
    forms = store.versions("x").versions
    assert (len(forms), {form.partition(".")[0] for form in forms}) == (2, {"v1"})
    assert not [form for form in forms if sha256(b"canary-1").hexdigest()[:8] in form]


def test_a_place_keeps_no_more_versions_than_the_service(tmp_path: Path) -> None:
    wiring = stated(tmp_path, service(keys="publish: [{store: other, key: x}]", rotation="keep_versions: 3"))
    (place,) = wiring.places("app")
    for number in range(6):
        place.publish(value(f"canary-{number}"), version=f"v{number}")
    kept = wiring.store("other").versions("x").versions
    assert [form.partition(".")[0] for form in kept] == ["v3", "v4", "v5"]


@pytest.mark.parametrize(
    "unusable", [CredentialValue("app", None), CredentialValue("app", Secret("SCRAM-canary"), Form.VERIFIER)]
)
def test_what_nobody_can_log_in_with_is_not_published(tmp_path: Path, unusable: CredentialValue) -> None:
    (place,) = wired(tmp_path, service(keys="publish: [{store: other, key: x}]")).places("app")
    with pytest.raises(Rejected, match="publishing app to other:x"):
        place.publish(unusable, version="v1")
    assert place.read() is None


def test_a_password_is_made_as_the_service_says(tmp_path: Path) -> None:
    rotation = "password: {length: 40, alphabet: alphanumeric}"
    assert wired(tmp_path, service(rotation=rotation)).password_rule("app") == PasswordRule(
        40, ALPHABETS["alphanumeric"]
    )


def test_the_plan_is_that_of_the_service(tmp_path: Path) -> None:
    wiring = wired(tmp_path, service(rotation="keep_versions: 7"))
    assert wiring.plan_for("app", wiring.target("app").capabilities).versions_kept == 7


def test_reading_needs_no_folder_of_the_file() -> None:
    assert reads(service()).base == Path("/etc/keyturn")
