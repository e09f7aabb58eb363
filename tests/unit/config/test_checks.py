"""What needs more than one place of the configuration to be judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.config.show import effective
from adapters.registry import target_adapter
from engine.plan import Strategy
from tests.unit.config.reading import only, problems, reads, service


@pytest.mark.parametrize(
    ("usernames", "said"),
    [
        ("", "exactly two different logins"),
        ("usernames: [app_a]", "exactly two different logins"),
        ("usernames: [app_a, app_a]", "exactly two different logins"),
        ("usernames: [app_a, app_b, app_c]", "exactly two different logins"),
        ("usernames: [app, app_b]", "must differ from the one in `credential.username`"),
    ],
)
def test_alternating_takes_turns_between_two_other_logins(usernames: str, said: str) -> None:
    problem = only(service(strategy="alternating", rotation=usernames))
    assert problem.key == "services.app.rotation.usernames"
    assert said in problem.message


@pytest.mark.parametrize("strategy", ["single", "dual", "issue", "script"])
def test_other_strategies_have_no_logins_that_take_turns(strategy: str) -> None:
    assert only(service(strategy=strategy, rotation="usernames: [a, b]")).key == "services.app.rotation.usernames"


def test_a_type_does_only_its_strategies(plugin: Path) -> None:
    problem = only(service(target="widget", strategy="dual", keys="host: x"))
    assert problem.message == "the type widget cannot do this strategy."
    assert problem.hint == "Use one of: single, alternating."


@pytest.mark.parametrize(
    ("name", "read_as"),
    [
        ("immediate", Strategy.SINGLE),
        ("two-key", Strategy.DUAL),
        ("overlap", Strategy.DUAL),
    ],
)
def test_the_names_of_dsops_are_read_and_told(name: str, read_as: Strategy) -> None:
    configuration = reads(service(strategy=name))
    assert configuration.services["app"].strategy is read_as
    (note,) = configuration.problems
    assert note.key == "services.app.rotation.strategy"
    assert f"{name} is read as {read_as}" in note.message


def test_a_name_of_dsops_is_read_as_what_the_type_can_do(plugin: Path) -> None:
    text = service(target="widget", strategy="overlap", keys="host: x", rotation="usernames: [a, b]")
    assert reads(text).services["app"].strategy is Strategy.ALTERNATING


def test_a_store_that_is_named_must_be_there() -> None:
    problem = only(service().replace("store: held", "store: hold"))
    assert (problem.key, problem.hint) == ("services.app.credential.store", "Did you mean 'held'?")
    problem = only(service(keys="publish: [{store: othr, key: x}]"))
    assert (problem.key, problem.hint) == ("services.app.publish[0].store", "Did you mean 'other'?")


def test_a_reference_names_a_store_that_is_there(plugin: Path) -> None:
    problem = only(service(target="widget", strategy="single", keys="host: x\n    token: store://hold/x"))
    assert (problem.key, problem.hint) == ("services.app.token", "Did you mean 'held'?")


def test_a_store_that_keeps_one_value_cannot_hold_a_credential() -> None:
    """It can be published to."""
    problem = only(service().replace("store: held", "store: plain"))
    assert problem.key == "services.app.credential.store"
    assert "keeps only one value" in problem.message
    assert reads(service(keys="publish: [{store: plain, key: APP}]")).services["app"].publish


def test_two_entries_never_write_the_same_place() -> None:
    """Neither two services the same credential, nor a publication over either."""
    other = """\
      two:
        type: memory
        credential: {username: two, store: %s, key: %s}
        publish: [{store: other, key: %s}]
        rotation: {strategy: single}
    """.replace("\n    ", "\n")[4:]
    first = service(keys="publish: [{store: other, key: x}]")
    assert "app" in reads(first + other % ("held", "default/two", "y")).services
    problem = only(first + other % ("held", "default/app", "y"))
    assert problem.key == "services.two.credential.key"
    assert "services.app.credential.key" in problem.message
    assert only(first + other % ("held", "z", "x")).key == "services.two.publish[0].key"
    assert only(first + other % ("other", "x", "y")).key == "services.two.credential.key"
    assert only(service(keys="publish: [{store: held, key: default/app}]")).key == "services.app.publish[0].key"


def test_a_store_is_not_opened_with_a_secret_out_of_itself(plugin: Path) -> None:
    """Nor by way of another."""
    chain = "{a: {type: drawer, token: 'store://b/x'}, b: {type: drawer, token: 'store://%s/x'}, c: {type: memory}}"
    assert len(reads(f"version: 1\nsecretStores: {chain % 'c'}").stores) == 3
    keys = [problem.key for problem in problems(f"version: 1\nsecretStores: {chain % 'a'}")]
    assert keys == ["secretStores.a.token", "secretStores.b.token"]
    assert only("version: 1\nsecretStores: {a: {type: drawer, token: 'store://a/x'}}").key == "secretStores.a.token"


@pytest.mark.parametrize("strategy", ["single", "script"])
def test_there_is_no_grace_where_the_old_version_ends_at_once(strategy: str) -> None:
    assert only(service(strategy=strategy, rotation="grace_period: 1h")).key == "services.app.rotation.grace_period"
    assert "app" in reads(service(strategy=strategy, rotation="grace_period: 0s")).services


@pytest.mark.parametrize(
    ("rotation", "key"),
    [
        ("ttl: 0s", "ttl"),
        ("verification: {timeout: 0s}", "verification.timeout"),
        ("rollback: {timeout: 0ms}", "rollback.timeout"),
        ("retry: {first: 0s}", "retry.first"),
        ("retry: {first: 10s, longest: 9s}", "retry.longest"),
        ("attempt_window: 999ms", "attempt_window"),
    ],
)
def test_a_time_that_cannot_work_is_refused(rotation: str, key: str) -> None:
    assert only(service(rotation=rotation)).key == f"services.app.rotation.{key}"


@pytest.mark.parametrize(("lease", "hint"), [("1999ms", "2s at least"), ("0s", "2s at least"), ("61m", "1h at most")])
def test_a_lease_that_cannot_work_is_refused(lease: str, hint: str) -> None:
    """Shorter, a busy machine loses it; longer, a process that is stopped keeps everybody out."""
    problem = only(f"lease: {lease}\n{service()}")
    assert problem.key == "lease"
    assert hint in problem.hint


@pytest.mark.parametrize("lease", ["2s", "1h"])
def test_a_lease_at_its_bounds_is_read(lease: str) -> None:
    assert effective(reads(f"lease: {lease}\n{service()}"))["lease"] == lease


SERVERS = {
    "postgresql": ("single", "host: db\n    database: app\n    admin_credentials: {username: k, password: 'env://K'}"),
    "mariadb": ("dual", "host: db\n    admin_credentials: {username: k, password: 'env://K'}"),
    "mysql": ("single", "host: db\n    admin_credentials: {username: k, password: 'env://K'}"),
    "redis": ("dual", "host: cache\n    admin_credentials: {password: 'env://K'}"),
}
"""A strategy and the options of the types whose server may be at work on a change for a while."""


@pytest.mark.parametrize("target", SERVERS)
def test_an_attempt_has_room_for_the_timeouts_of_its_type(target: str) -> None:
    """What is given up sooner than the server does could still take effect."""
    strategy, keys = SERVERS[target]
    given = service(target=target, strategy=strategy, keys=keys, rotation="attempt_window: 4999ms")
    problem = only(given)
    assert problem.key == "services.app.rotation.attempt_window"
    assert problem.message == f"a change at a target of type {target} may take longer than this."
    assert problem.hint == "Give it 5s at least."
    assert "app" in reads(given.replace("4999ms", "5s")).services


@pytest.mark.parametrize(
    ("target", "limit"),
    [
        ("postgresql", "statement_timeout"),
        ("mariadb", "statement_timeout"),
        ("mysql", "statement_timeout"),
        ("redis", "command_timeout"),
    ],
)
def test_the_longest_timeout_of_a_type_fits_into_its_shortest_attempt(target: str, limit: str) -> None:
    """What the adapter declares agrees with what its options allow."""
    strategy, keys = SERVERS[target]
    least = target_adapter(target).attempt_window_min
    for milliseconds, is_allowed in ((4000, True), (4001, False)):
        text = service(target=target, strategy=strategy, keys=f"{keys}\n    {limit}: {milliseconds}ms")
        if is_allowed:
            assert "app" in reads(text).services
            assert milliseconds * 1000 < least
        else:
            assert limit in only(text).message


def test_a_type_that_declares_no_shortest_attempt_has_a_second(plugin: Path) -> None:
    given = service(target="widget", strategy="single", keys="host: x", rotation="attempt_window: 999ms")
    assert only(given).hint == "Give it 1s at least."
    assert "app" in reads(given.replace("999ms", "1s")).services


@pytest.mark.parametrize(
    ("password", "length"),
    [
        ("length: 21", 22),
        ("length: 21, alphabet: alphanumeric", 22),
        ("length: 32, alphabet: hex", 33),
        ("length: 8, alphabet: ascii-printable", 20),
        ("alphabet: {characters: '0123456789'}", 39),
        ("alphabet: {characters: ab}", 128),
    ],
)
def test_a_weak_password_is_refused_with_the_length_that_is_not(password: str, length: int) -> None:
    problem = only(service(rotation=f"password: {{{password}}}"))
    assert problem.key == "services.app.rotation.password.length"
    assert f"Make it {length} characters long" in problem.hint
    alphabet = password.partition("alphabet")[2]
    strong = f"length: {length}" + (f", alphabet{alphabet}" if alphabet else "")
    assert not reads(service(rotation=f"password: {{{strong}}}")).problems


def test_a_weak_password_needs_a_reason_that_is_told() -> None:
    rotation = "password: {length: 8, allow_weak_reason: %s}"
    (note,) = reads(service(rotation=rotation % "the device takes eight characters")).problems
    assert "bits of entropy" in note.message
    assert only(service(rotation=rotation % "'  '")).key == "services.app.rotation.password.length"


def test_a_reason_without_weakness_is_refused() -> None:
    """A leftover would let the next change pass in silence."""
    assert only(service(rotation="password: {allow_weak_reason: x}")).key.endswith("allow_weak_reason")


@pytest.mark.parametrize("characters", ["aab", "a b", "aä", 'a\\"\\t'])
def test_an_alphabet_is_of_plain_characters_each_once(characters: str) -> None:
    text = service(rotation=f'password: {{alphabet: {{characters: "{characters}"}}}}')
    assert only(text).key == "services.app.rotation.password.alphabet"
