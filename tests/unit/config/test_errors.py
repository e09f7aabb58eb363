"""Everything that is wrong is told at once: where, what is expected, what to do, and never what stands there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.config.load import load
from adapters.config.problems import ConfigInvalid
from adapters.config.refused import REFUSED
from adapters.config.rollout_keys import Canary, Rollout, Step
from adapters.config.schema import (
    ChannelKeys,
    FileKeys,
    GroupRotation,
    Metrics,
    Password,
    Prometheus,
    Rollback,
    Rotation,
    ServiceGroup,
    ServiceKeys,
    StoreKeys,
    Verification,
)
from engine.errors import ExitCode
from engine.instances import Instance
from tests.unit.config.reading import only, problems, reads, service


def test_all_that_is_wrong_is_told_in_the_order_of_the_file() -> None:
    """One wrong part of a service does not hide another."""
    found = problems("""\
        version: 2
        envs: {}
        servces: {}
        secretStores:
          held: {type: memry}
          Bad!: {type: memory}
          not-yet: {type: hashicorp.vault}
          bare: memory
        services:
          app:
            type: memory
            hosst: x
            credential: {username: 5, store: heldd, key: ../x}
            publish:
              - {store: nope, template: "{{ password "}
            rotation: {strategy: duel, ttl: 30, keep_versions: 1, verification: {attempts: many}}
    """)
    assert [(problem.line, problem.key) for problem in found] == [
        (1, "version"),
        (2, "envs"),
        (3, "servces"),
        (5, "secretStores.held.type"),
        (6, "secretStores.Bad!"),
        (7, "secretStores.not-yet.type"),
        (8, "secretStores.bare"),
        (12, "services.app.hosst"),
        (13, "services.app.credential.username"),
        (13, "services.app.credential.store"),
        (13, "services.app.credential.key"),
        (15, "services.app.publish[0].key"),
        (15, "services.app.publish[0].store"),
        (15, "services.app.publish[0].template"),
        (16, "services.app.rotation.strategy"),
        (16, "services.app.rotation.ttl"),
        (16, "services.app.rotation.keep_versions"),
        (16, "services.app.rotation.verification.attempts"),
    ]


def test_the_error_counts_and_exits_as_a_usage_error() -> None:
    with pytest.raises(ConfigInvalid) as raised:
        reads("version: 1\nfoo: 1\nbar: 2\n")
    assert raised.value.message.startswith("The configuration keyturn.yaml has 2 problems: keyturn.yaml:2: foo: ")
    assert raised.value.exit_code is ExitCode.USAGE
    assert raised.value.advice


@pytest.mark.parametrize(
    ("rotation", "meant"),
    [("usernams: []", "usernames"), ("grace_perod: 1h", "grace_period"), ("atempt_window: 5s", "attempt_window")],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(rotation: str, meant: str) -> None:
    problem = only(service(rotation=rotation))
    assert problem.message == "there is no such key."
    assert problem.hint == f"Did you mean {meant!r}?"


def test_an_unknown_key_of_a_service_may_have_meant_an_option_of_its_type() -> None:
    assert only(service(keys="shows_restorabl: true")).hint == "Did you mean 'shows_restorable'?"


INSTANCES = "discovery: {{type: memory}}, distribution: {{type: memory}}"
IN_FILE: dict[type[msgspec.Struct], str] = {
    FileKeys: "version: 1\n{key}: {{}}\n",
    Metrics: "version: 1\nmetrics: {{{key}: 1}}\n",
    Prometheus: "version: 1\nmetrics: {{prometheus: {{{key}: 1}}}}\n",
    ServiceGroup: "version: 1\nservice_groups: [{{name: g, services: [], {key}: 1}}]\n",
    GroupRotation: "version: 1\nservice_groups: [{{name: g, services: [], rotation: {{{key}: 1}}}}]\n",
    StoreKeys: "version: 1\nsecretStores: {{held: {{type: memory, {key}: 1}}}}\n",
}
IN_ROTATION: dict[type[msgspec.Struct], str] = {
    Rotation: "{key}: {{}}",
    Verification: "verification: {{{key}: 1}}",
    Rollback: "rollback: {{{key}: true}}",
    Password: "password: {{{key}: true}}",
    ChannelKeys: "notifications: {{file: {{path: x, {key}: true}}}}",
    Canary: "canary: {{{key}: 1}}, " + INSTANCES,
    Rollout: "rollout: {{{key}: 1}}, " + INSTANCES,
    Step: "rollout: {{waves: [{{percentage: 100, {key}: 1}}]}}, " + INSTANCES,
    Instance: "discovery: {{type: explicit, instances: [{{id: a, {key}: 1}}]}}, distribution: {{type: memory}}",
}


@pytest.mark.parametrize(
    ("section", "key", "reason"),
    [(section, key, reason) for section, keys in REFUSED.items() for key, reason in keys.items()],
)
def test_what_this_version_does_not_do_is_refused_by_name(section: type[msgspec.Struct], key: str, reason: str) -> None:
    """Nothing that dsops or the plan of keyturn knows is swallowed."""
    if section in IN_FILE:
        problem = only(IN_FILE[section].format(key=key))
    elif section is ServiceKeys:
        problem = only(service(keys=f"{key}: {{}}"))
    else:
        problem = only(service(rotation=IN_ROTATION[section].format(key=key)))
    assert problem.message == f"not supported by this version: {reason}."
    assert problem.key.endswith(key)


@pytest.mark.parametrize(
    "key",
    ["rotation_groups", "envs", "notifications", "policies", "transforms"],
)
def test_the_top_level_keys_of_dsops_are_known(key: str) -> None:
    assert key in REFUSED[FileKeys]


@pytest.mark.parametrize(
    "key",
    [
        "notify_before",
        "trigger",
        "conditions",
        "metrics",
        "hooks",
    ],
)
def test_the_rotation_keys_of_later_versions_are_known(key: str) -> None:
    assert key in REFUSED[Rotation]


@pytest.mark.parametrize("key", ["ttl", "grace_period", "attempt_window"])
@pytest.mark.parametrize("value", ["30", "1.5", "true", "[1s]", "30 s", "1w", "-1s", "1h30m", "''"])
def test_a_duration_has_its_unit(key: str, value: str) -> None:
    problem = only(service(rotation=f"{key}: {value}"))
    assert problem.key == f"services.app.rotation.{key}"
    assert "a duration is expected" in problem.message
    assert "30s" in problem.hint


@pytest.mark.parametrize(
    ("rotation", "said"),
    [
        ("usernames: app_a", "a text stands here; a list is expected"),
        ("usernames: [1]", "a number stands here; a text is expected"),
        ("rollback: true", "true or false stands here; a mapping of keys is expected"),
        ("rollback: {automatic: 'yes'}", "a text stands here; true or false is expected"),
        ("rollback: {automatic: 1}", "a number stands here; true or false is expected"),
        ("keep_versions: true", "true or false stands here; a whole number is expected"),
        ("keep_versions: 10.5", "a number stands here; a whole number is expected"),
        ("keep_versions: 2", "the number must be at least 3"),
        ("keep_versions: 100000", "the number must be at most 1000"),
        ("retry: {attempts: 0}", "the number must be at least 1"),
        ("password: {alphabet: 5}", "is expected"),
        ("password: {alphabet: klingon}", "is expected"),
        ("password: {alphabet: {characters: a}}", "2 characters at least"),
        ("verification: null", "nothing stands here"),
    ],
)
def test_a_wrong_form_is_told_with_what_is_expected(rotation: str, said: str) -> None:
    assert said in only(service(rotation=rotation)).message


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "version", "3", "{}", "services: []", "version: '1'", "version: true"]
)
def test_a_file_that_is_no_configuration_is_refused(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", ".x", "-x", "a b", "ä", "x" * 65, "a\\nb", "\\u202ex"])
@pytest.mark.parametrize("kind", ["secretStores", "services"])
def test_a_name_cannot_lead_anywhere(kind: str, name: str) -> None:
    """Names become parts of file names and metrics."""
    found = problems(f'version: 1\n{kind}: {{"{name}": {{type: memory}}}}\n')
    assert any(problem.message == "this cannot be a name." for problem in found)
    assert all(str(problem).isprintable() for problem in found)


@pytest.mark.parametrize("name", ["a", "0", "app-db", "app.db_2", "x" * 64])
def test_a_name_may_be_plain(name: str) -> None:
    assert list(reads(f"version: 1\nsecretStores: {{'{name}': {{type: memory}}}}\n").stores) == [name]


@pytest.mark.parametrize(
    "key", ["../x", "a/../b", "/etc/x", "a//b", "a/", "", ".", "..", "./a", "a\\\\b", "a b", "x" * 513]
)
def test_a_key_cannot_lead_out_of_its_store(key: str) -> None:
    text = service().replace("key: default/app", f'key: "{key}"')
    assert only(text).key == "services.app.credential.key"


def test_an_environment_is_a_name() -> None:
    assert only(service(keys="environment: ../prod")).key == "services.app.environment"
    assert reads(service(keys="environment: production")).services["app"].environment == "production"


def test_the_password_of_an_admin_is_a_reference(plugin: Path) -> None:
    """A secret that stands in the file is refused, and not shown."""
    keys = "host: db, admin_credentials: {username: x, password: canary-1234}".replace(", admin", "\n    admin")
    problem = only(service(target="widget", strategy="single", keys=keys))
    assert problem.key == "services.app.admin_credentials.password"
    assert "never the secret itself" in problem.message
    assert "canary" not in str(problem)


CANARY = "canary-3f9a"


@pytest.mark.parametrize(
    "text",
    [
        service(rotation=f"ttl: {CANARY}"),
        service(rotation=f"keep_versions: {CANARY}"),
        service(rotation=f"password: {{alphabet: {CANARY}}}"),
        service(rotation=f"password: {CANARY}"),
        service(strategy=CANARY),
        service(target=CANARY),
        service(keys=f"environment: {CANARY.upper()}"),
        service(keys=f"publish: [{{store: {CANARY}, key: x}}]"),
        service(keys=f"publish: [{{store: other, key: x, template: '{{{{ {CANARY} }}}}'}}]"),
        service(keys="publish: [{store: other, key: x, template: '{{ canary_3f9a }}'}]"),
        service(keys=f"publish: {CANARY}"),
        service().replace("key: default/app", f"key: '{CANARY}!'"),
        f"version: {CANARY}",
        f"version: 1\nstate: postgresql://user:{CANARY}@db/x",
        f"version: 1\nsecretStores: {{held: {{type: {CANARY}}}}}",
        f"version: 1\nsecretStores: {{held: {CANARY}}}",
        f"version: 1\nsecretStores: {CANARY}",
    ],
)
def test_no_value_of_the_file_is_shown(text: str) -> None:
    """A secret may have been put in any place by mistake."""
    found = problems(text)
    shown = " ".join(map(str, found)) + " ".join(map(repr, found))
    assert CANARY not in shown.lower()
    assert "canary_3f9a" not in shown


def test_a_url_with_a_password_is_refused(plugin: Path) -> None:
    keys = "host: 'https://user:canary-1@db/'"
    problem = only(service(target="widget", strategy="single", keys=keys))
    assert problem.key == "services.app.host"
    assert "canary" not in str(problem)


def test_what_the_options_say_together_is_told(plugin: Path) -> None:
    """The sentence of the adapter's author, at the entry it is about."""
    problem = only(service(target="widget", strategy="single", keys="host: x\n    database: x"))
    assert str(problem).startswith("keyturn.yaml:4: services.app: `host` and `database` are the same.")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "the file cannot be read. Is a directory."),
        (lambda path: path.write_bytes(b"x" * (9 * 1024 * 1024)), "larger than 8 MiB"),
    ],
    ids=["missing", "folder", "9 MiB"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / "keyturn.yaml"
    assert callable(make)
    make(path)
    with pytest.raises(ConfigInvalid, match=said) as raised:
        load(path)
    assert str(path) in raised.value.message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "keyturn.yaml")
    with pytest.raises(ConfigInvalid, match="not a file"):
        load(tmp_path / "keyturn.yaml")


def test_the_state_folder_is_a_folder(tmp_path: Path) -> None:
    """Relative to the file, absolute, or as a URL of a file; other URLs are refused."""
    states = {"./state": "/etc/keyturn/state", "/var/lib/k": "/var/lib/k", "file:///var/lib/a%20b": "/var/lib/a b"}
    for given, state in states.items():
        assert reads(f"version: 1\nstate: {given}").state == Path(state)
    assert reads("version: 1").state is None
    assert only("version: 1\nstate: postgresql://db/x").key == "state"
