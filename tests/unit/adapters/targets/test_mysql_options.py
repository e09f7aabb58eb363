"""What the configuration may say about MariaDB and MySQL targets, and what follows from it without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from adapters.registry import missing_driver, target_adapter
from adapters.targets import mariadb, mysql
from adapters.targets.mysql_options import MysqlFamilyOptions, Tls
from engine.adapter import Duration, Reference, TargetAdapter, TargetContext
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import Addressable, Checkable, Target
from engine.values import SECOND, CredentialValue, Secret

SMALLEST: dict[str, object] = {
    "host": "db.internal",
    "admin_credentials": {"username": "keyturn", "password": "store://local/admin/app-db"},
}
BOTH = pytest.mark.parametrize("adapter", [mariadb.ADAPTER, mysql.ADAPTER], ids=lambda adapter: adapter.name)


def _options(adapter: TargetAdapter, **more: object) -> MysqlFamilyOptions:
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    options = msgspec.convert(SMALLEST | more, adapter.options, dec_hook=lambda kind, raw: hook[kind](raw))
    assert isinstance(options, MysqlFamilyOptions)
    return options


def _target(adapter: TargetAdapter, strategy: Strategy = Strategy.DUAL, **more: object) -> Target:
    def secret(reference: Reference) -> Secret:
        raise AssertionError("nothing here reads the admin's password")

    context = TargetContext(
        service="app-db",
        environment="production",
        strategy=strategy,
        username="app",
        usernames=("app",),
        base=Path("/etc/keyturn"),
        state=Path("/var/lib/keyturn"),
        secret=secret,
    )
    return adapter.build(_options(adapter, **more), context)


@BOTH
def test_the_registry_finds_it(adapter: TargetAdapter) -> None:
    """The names of type, extra and strategies are what the pages say."""
    assert target_adapter(adapter.name) is adapter
    assert adapter.extra == "mysql"
    assert sorted(adapter.strategies) == [Strategy.ALTERNATING, Strategy.DUAL, Strategy.SINGLE]


@BOTH
def test_the_defaults_are_the_safe_ones(adapter: TargetAdapter) -> None:
    """TLS that proves the server, and times that fit into an attempt."""
    options = _options(adapter)
    assert (options.port, options.tls, options.account_host) == (3306, Tls.VERIFY_FULL, "%")
    assert options.statement_timeout == Duration(3 * SECOND)
    assert isinstance(_target(adapter), Checkable)
    assert isinstance(_target(adapter), Addressable)


@BOTH
def test_what_a_strategy_can_do_is_declared(adapter: TargetAdapter) -> None:
    """Two passwords at once with `dual`; where one is pushed in, it is looked before that is done again."""
    is_pushed = adapter is mysql.ADAPTER
    dual, single = (_target(adapter, each).capabilities for each in (Strategy.DUAL, Strategy.SINGLE))
    assert (dual.values_max, single.values_max) == (2, 1)
    assert dual.retry is (RetryClass.PROBE_FIRST if is_pushed else RetryClass.IDEMPOTENT)
    assert (single.retry, single.login_budget) == (RetryClass.IDEMPOTENT, None)
    budget = _target(adapter, login_budget={"tries": 3, "window": "15m"}).capabilities.login_budget
    assert budget == LoginBudget(3, Duration.parse("15m").microseconds)


@BOTH
@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"sslmode": "disable"}, "sslmode"),
        ({"tls": "prefer"}, r"\$\.tls"),
        ({"port": 0}, r"\$\.port"),
        ({"account_host": ""}, "account_host"),
        ({"statement_timeout": "5s"}, "statement_timeout is 500ms to 4s"),
        ({"statement_timeout": "499ms"}, "statement_timeout is 500ms to 4s"),
        ({"login_budget": {"tries": 0, "window": "1m"}}, r"\$\.login_budget\.tries"),
        ({"authentication": "mysql_old_password"}, r"\$\.authentication"),
        ({"admin_credentials": {"username": "keyturn", "password": "canary-literal"}}, "reference"),
    ],
)
def test_a_wrong_option_is_refused_by_name(adapter: TargetAdapter, more: dict[str, object], path: str) -> None:
    """Unknown keys, TLS that may be given up, times that leave nothing to send in, and a secret written down."""
    with pytest.raises(msgspec.ValidationError, match=path) as caught:
        _options(adapter, **more)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("adapter", "more"),
    [
        (mysql.ADAPTER, {"authentication": "ed25519"}),
        (mysql.ADAPTER, {"clients_switch_twice": True}),
        (mariadb.ADAPTER, {"authentication": "caching_sha2_password"}),
    ],
)
def test_what_only_the_other_has_is_refused(adapter: TargetAdapter, more: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        _options(adapter, **more)


@pytest.mark.parametrize(("host", "written"), [("db.internal", "db.internal"), ("::1", "[::1]")])
def test_the_url_is_percent_encoded(host: str, written: str) -> None:
    """Names and passwords, and an IPv6 address stands in brackets."""
    target = _target(mariadb.ADAPTER, host=host, database="app/x")
    assert isinstance(target, Addressable)
    url = target.url(CredentialValue("app@x", Secret("canary-/?#%")))
    assert url.reveal() == f"mysql://app%40x:canary-%2F%3F%23%25@{written}:3306/app%2Fx"


@BOTH
def test_a_missing_driver_names_the_extra(adapter: TargetAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        _target(adapter)
    assert 'pip install "keyturn[mysql]"' in missing_driver(adapter, caught.value).advice


@pytest.mark.slow
def test_the_adapters_are_known_without_their_driver() -> None:
    """Reading the configuration imports neither PyMySQL nor PyNaCl."""
    program = (
        "import sys, adapters.targets.mariadb, adapters.targets.mysql; print({'pymysql', 'nacl'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[4], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
