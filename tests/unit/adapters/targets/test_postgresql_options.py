"""What the configuration may say about a PostgreSQL target, and what follows from it without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from adapters.registry import missing_driver, target_adapter
from adapters.targets.postgresql import ADAPTER, PostgresqlOptions
from adapters.targets.postgresql_login import Tls
from engine.adapter import Duration, Reference, TargetContext
from engine.plan import LoginBudget, Strategy
from engine.ports import Addressable, Checkable, Target
from engine.values import SECOND, CredentialValue, Secret

SMALLEST: dict[str, object] = {
    "host": "db.internal",
    "database": "app",
    "admin_credentials": {"username": "keyturn", "password": "store://local/admin/app-db"},
}


def _options(**more: object) -> PostgresqlOptions:
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    return msgspec.convert(SMALLEST | more, PostgresqlOptions, dec_hook=lambda kind, raw: hook[kind](raw))


def _target(**more: object) -> Target:
    def secret(reference: Reference) -> Secret:
        raise AssertionError("nothing here reads the admin's password")

    context = TargetContext(
        service="app-db",
        environment="production",
        strategy=Strategy.SINGLE,
        username="app",
        usernames=("app",),
        base=Path("/etc/keyturn"),
        state=Path("/var/lib/keyturn"),
        secret=secret,
    )
    return ADAPTER.build(_options(**more), context)


def test_the_registry_finds_it() -> None:
    """`type: postgresql` is this adapter, and the names of its extra and strategies are what the pages say."""
    assert target_adapter("postgresql") is ADAPTER
    assert ADAPTER.extra == "postgres"
    assert sorted(ADAPTER.strategies) == [Strategy.ALTERNATING, Strategy.SINGLE]


def test_the_defaults_are_the_safe_ones() -> None:
    """TLS that proves the server, and times that fit into an attempt."""
    options = _options()
    assert (options.port, options.tls, options.verification_query) == (5432, Tls.VERIFY_FULL, "SELECT 1")
    assert options.statement_timeout == Duration(3 * SECOND)
    target = _target()
    assert isinstance(target, Checkable)
    assert isinstance(target, Addressable)
    assert (target.capabilities.values_max, target.capabilities.login_budget) == (1, None)


def test_a_budget_of_logins_reaches_the_plan() -> None:
    """What tolerates only so many wrong logins is said in the configuration and declared by the target."""
    declared = _target(login_budget={"tries": 3, "window": "15m"}).capabilities.login_budget
    assert declared == LoginBudget(3, Duration.parse("15m").microseconds)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"sslmode": "disable"}, "sslmode"),
        ({"tls": "prefer"}, r"\$\.tls"),
        ({"port": 0}, r"\$\.port"),
        ({"statement_timeout": "5s"}, "statement_timeout is 100ms to 4s"),
        ({"statement_timeout": "99ms"}, "statement_timeout is 100ms to 4s"),
        ({"login_budget": {"tries": 0, "window": "1m"}}, r"\$\.login_budget\.tries"),
        ({"admin_credentials": {"username": "keyturn", "password": "canary-literal"}}, "reference"),
    ],
)
def test_a_wrong_option_is_refused_by_name(more: dict[str, object], path: str) -> None:
    """Unknown keys, TLS that may be given up, times that leave nothing to send in, and a secret written down."""
    with pytest.raises(msgspec.ValidationError, match=path) as caught:
        _options(**more)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("host", "written"), [("db.internal", "db.internal"), ("::1", "[::1]")])
def test_the_url_is_one_that_libpq_reads(host: str, written: str) -> None:
    """Names and passwords are percent-encoded, an IPv6 address stands in brackets, and TLS is said."""
    target = _target(host=host)
    assert isinstance(target, Addressable)
    url = target.url(CredentialValue("app@x", Secret("canary-/?#%")))
    assert url.reveal() == f"postgresql://app%40x:canary-%2F%3F%23%25@{written}:5432/app?sslmode=verify-full"


@pytest.mark.parametrize("cause", [ModuleNotFoundError("none", name="psycopg"), ImportError("no pq wrapper")])
def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch, cause: ImportError) -> None:
    """Without psycopg, and with a psycopg that finds no libpq, one line says what to install."""

    def refuse(name: str) -> object:
        raise cause

    monkeypatch.setattr("adapters.targets.postgresql.import_module", refuse)
    with pytest.raises(ModuleNotFoundError) as caught:
        _target()
    assert 'pip install "keyturn[postgres]"' in missing_driver(ADAPTER, caught.value).advice


@pytest.mark.slow
def test_the_adapter_is_known_without_its_driver() -> None:
    """Reading the configuration imports no psycopg."""
    program = "import sys, adapters.targets.postgresql; print('psycopg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[4], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
