"""The page about MariaDB and MySQL is true: its examples are accepted, and its grants are enough."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from adapters.targets.mariadb import MariadbOptions
from adapters.targets.mysql import MysqlOptions
from engine.adapter import Duration, Reference
from engine.plan import Strategy
from engine.ports import Probe, Severity
from tests.integration.mariadb_bench import Accounts, soon, value
from tests.mariadb_server import MariadbServer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "mariadb-and-mysql.md").read_text(encoding="utf-8")
AROUND = {"type", "environment", "credential", "rotation"}
"""Keys of a service that belong to every target."""
KINDS: dict[str, type[msgspec.Struct]] = {"mariadb": MariadbOptions, "mysql": MysqlOptions}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_example_can_be_configured_so() -> None:
    """Each option is one that the target has."""
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    examples = [service for block in _blocks("yaml") for service in yaml.safe_load(block)["services"].values()]
    assert len(examples) == 3
    for example in examples:
        given = {name: option for name, option in example.items() if name not in AROUND}
        msgspec.convert(given, KINDS[example["type"]], dec_hook=lambda kind, raw: hook[kind](raw))


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_tells_every_option_and_its_default(kind: str) -> None:
    """Nothing is configurable that the page does not tell."""
    for field in msgspec.structs.fields(KINDS[kind]):
        row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{field.name}`" in line)
        if isinstance(field.default, Duration) or type(field.default) is int:
            assert f"| {field.default} |" in row


@pytest.mark.slow
def test_the_grants_are_enough(mariadb_server: MariadbServer) -> None:
    """After the statements of the page our own login rotates in every way, and the doctor finds nothing to grant."""
    here = Accounts(mariadb_server, "report")
    *needed, for_the_log = _blocks("sql")
    for statement in "".join(needed).split(";\n")[:-1]:
        mariadb_server.run(statement.replace(" REQUIRE SSL", ""))
    mariadb_server.run("CREATE USER report@'%' IDENTIFIED VIA mysql_native_password USING 'invalid'")
    mariadb_server.run("CREATE ROLE report_role")
    mariadb_server.run("GRANT report_role TO keyturn@'%' WITH ADMIN OPTION")
    admin = value("keyturn")
    mariadb_server.run("SET PASSWORD FOR keyturn@'%%' = PASSWORD(%s)", admin.revealed())
    credentials = {"username": "keyturn", "password": "env://ADMIN"}
    for strategy, names in (
        (Strategy.SINGLE, ("report", "report")),
        (Strategy.DUAL, ("report", "report")),
        (Strategy.ALTERNATING, ("report_role_a", "report_role_b")),
    ):
        target = here.target(strategy, admin=admin.secret, admin_credentials=credentials)
        old, new = map(value, names)
        target.apply(old, tag="1", deadline=soon())
        target.apply(new, tag="2", deadline=soon())
        target.retire(old, keep=new, tag="2", deadline=soon())
        assert (target.probe(old).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)
        target.restore(None, candidate=new, tag="2", deadline=soon())
        assert not [finding for finding in target.check() if finding.severity is Severity.FAIL]
        assert not [each for each in (old, new) if each.revealed().encode() in mariadb_server.general_log]
        assert [finding for finding in target.check() if "general log" in finding.message]
    mariadb_server.run(for_the_log.strip(";\n"))
    before = len(mariadb_server.general_log)
    target.apply(value(names[0]), tag="3", deadline=soon())
    assert not [finding for finding in target.check() if "general log" in finding.message]
    assert b"ALTER USER" not in mariadb_server.general_log[before:]
