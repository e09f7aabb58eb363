"""An application of a fleet changes its credential while it works: the one that rollouts are tested with."""

from __future__ import annotations

import time

import pytest

from adapters.distributors import http
from engine.errors import Unavailable
from engine.instances import Usage
from engine.values import CredentialValue, Secret
from tests.conftest import Database
from tests.contract.distributors import NEW, OLD, soon
from tests.integration.distributor_bench import CREDENTIAL, HERE, Bench, bench
from tests.integration.fleet_bench import apps, seen

__all__ = ["bench"]

WRONG = "00000000-0000-4000-8000-00000000000c"


def test_an_application_moves_its_pool_from_login_to_login(bench: Bench, database: Database) -> None:
    """It never fails a query; a version that does not work leaves it where it was, and is counted."""
    values = {
        version: CredentialValue(database.login(role, f"canary-{role}"), Secret(f"canary-{role}"))
        for version, role in ((OLD, "app_a"), (NEW, "app_b"))
    }
    values[WRONG] = CredentialValue(values[NEW].username, Secret("canary-of-nobody"))
    for version, value in values.items():
        bench.store.stage(CREDENTIAL, version, value)
    place = {"host": database.server.host, "port": database.server.port, "dbname": database.name}
    distributor = bench.distributor(
        http.ADAPTER,
        {"TOKEN": "x"},
        auth={"type": "bearer", "token": "env://TOKEN"},
        allow_http=True,
        allow_private=[HERE],
    )
    settings = {"database": place, "store": bench.store_settings(), "query_seconds": 0.02}
    with apps(settings) as (app,):
        for version in (OLD, NEW):
            distributor.hand(app.instance, values[version], version=version, deadline=soon())
            assert seen(distributor, app.instance, values[version], version).usage is Usage.USED
        database.run("ALTER ROLE {} NOLOGIN", values[OLD].username)
        with pytest.raises(Unavailable):
            distributor.hand(app.instance, values[WRONG], version=WRONG, deadline=soon())
        assert seen(distributor, app.instance, values[NEW], NEW).usage is Usage.USED
        done = app.stats()["queries"]
        limit = time.monotonic() + 5
        while app.stats()["queries"] < done + 10 and time.monotonic() < limit:
            time.sleep(0.02)
        counted = app.stats()
    assert counted["queries"] >= done + 10
    assert {name: counted[name] for name in ("version", "changes", "failed_logins", "failed_queries")} == {
        "version": NEW,
        "changes": 2,
        "failed_logins": 1,
        "failed_queries": 0,
    }
