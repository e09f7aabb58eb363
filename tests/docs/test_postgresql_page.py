"""The page about PostgreSQL is true: its examples are accepted, and its grants are enough."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import psycopg
import pytest
import yaml

from adapters.demo import servers
from adapters.targets.postgresql import PostgresqlOptions
from engine.adapter import Duration, Reference
from engine.plan import Strategy
from engine.ports import Probe, Severity
from engine.values import Secret
from tests.conftest import Database, without_server
from tests.integration.postgresql_bench import Site, soon, value

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "postgresql.md").read_text(encoding="utf-8")
AROUND = {"type", "environment", "credential", "rotation"}
"""Keys of a service that belong to every target."""


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_example_can_be_configured_so() -> None:
    """Each option is one that the target has."""
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    examples = [service for block in _blocks("yaml") for service in yaml.safe_load(block)["services"].values()]
    assert len(examples) == 2
    for example in examples:
        given = {name: option for name, option in example.items() if name not in AROUND}
        msgspec.convert(given, PostgresqlOptions, dec_hook=lambda kind, raw: hook[kind](raw))


def test_the_table_tells_every_option_and_its_default() -> None:
    """Nothing is configurable that the page does not tell."""
    for field in msgspec.structs.fields(PostgresqlOptions):
        row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{field.name}`" in line)
        if isinstance(field.default, Duration | int):
            assert f"| {field.default} |" in row


@pytest.mark.slow
def test_the_grants_are_enough() -> None:
    """After the statements of the page, our own login rotates the pair, and the doctor finds no failure."""
    try:
        servers.find_postgres()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.postgres_server(settings={"log_statement": "all"}) as server:
        here = Site(Database(server, "postgres", ""), "app", ("app_a", "app_b"))
        password = value("keyturn").revealed()
        with here.database.connect() as connection:
            version = connection.info.server_version
            grants, log_grants = _blocks("sql")
            connection.execute(grants)
            if version >= 150000:
                connection.execute(log_grants)
            connection.execute("SET log_statement = none")
            connection.execute(psycopg.sql.SQL("ALTER ROLE keyturn PASSWORD {}").format(psycopg.sql.Literal(password)))
        target = here.target(Strategy.ALTERNATING, admin=("keyturn", Secret(password)))
        assert not [finding for finding in target.check() if finding.severity is Severity.FAIL]
        old, new = value("app_a"), value("app_b")
        target.apply(old, tag="1", deadline=soon())
        target.apply(new, tag="2", deadline=soon())
        target.retire(old, keep=new, tag="2", deadline=soon())
        assert (target.probe(old).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)
        if version >= 150000:
            assert "SCRAM-SHA-256$" not in here.log()
