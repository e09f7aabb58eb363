"""Who still uses a login at a real PostgreSQL: counted by name, and seen by any administrator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from engine.plan import Strategy
from engine.values import CredentialValue
from tests.conftest import Database
from tests.integration.postgresql_bench import Site, site, soon, value

pytestmark = pytest.mark.slow


@pytest.fixture
def here(database: Database) -> Site:
    """A database with the roles of one service."""
    return site(database)


@contextmanager
def _logged_in(here: Site, used: CredentialValue) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    server = here.database.server
    with psycopg.connect(
        host=server.host, port=server.port, dbname=here.database.name, user=used.username, password=used.revealed()
    ) as connection:
        yield connection


def test_sessions_of_one_login_are_told_from_those_of_the_other(here: Site) -> None:
    """Each keeps the name that it logged in with, though both act as the owner; none is left when it ends."""
    target = here.target(Strategy.ALTERNATING)
    first, second = (target.apply(value(login), tag="t", deadline=soon()) for login in here.pair)
    assert (target.sessions(first), target.sessions(second)) == (0, 0)
    with _logged_in(here, first), _logged_in(here, first), _logged_in(here, second):
        assert (target.sessions(first), target.sessions(second)) == (2, 1)
    with _logged_in(here, second):
        assert target.sessions(first) == 0


def test_an_administrator_who_sees_no_statistics_of_others_counts_them_too(here: Site) -> None:
    """Without `pg_read_all_stats` most of what others do is hidden; that they are there is not."""
    target = here.target(Strategy.ALTERNATING)
    first = target.apply(value(here.pair[0]), tag="t", deadline=soon())
    admin = value(here.database.login("admin"))
    with here.database.connect() as connection:
        connection.execute(
            psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                psycopg.sql.Identifier(admin.username), psycopg.sql.Literal(admin.revealed())
            )
        )
        connection.commit()
    assert admin.secret is not None
    other = here.target(Strategy.ALTERNATING, admin=(admin.username, admin.secret))
    with _logged_in(here, first):
        assert other.sessions(first) == 1


def test_one_login_of_both_versions_tells_nothing(here: Site) -> None:
    """And neither does a server that is not there."""
    single = here.target(Strategy.SINGLE)
    used = single.apply(value(here.owner), tag="t", deadline=soon())
    assert single.sessions(used) is None
    assert here.target(Strategy.ALTERNATING, port=1).sessions(used) is None
