"""The check `replication_lag`: how far what replicates is behind, for every kind of service that replicates.

Rule: where nothing replicates, or the login may not see it, it is unknown; it is never taken for no lag.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from adapters.health import mysql_session, postgresql_session, redis_session
from adapters.health.looking import Found, NotSeen, OutOfReach, See, declared, judged
from engine.adapter import CheckContext
from engine.health import Subject

_PRIMARY: Final = """
SELECT
  application_name,
  CASE WHEN replay_lsn >= pg_catalog.pg_current_wal_lsn() THEN 0
       ELSE extract(epoch FROM replay_lag)::float8 END
FROM pg_catalog.pg_stat_replication WHERE coalesce(state, '') <> 'backup'
"""
"""A replica that has replayed everything is not behind; its `replay_lag` is empty once nothing is written."""

_STANDBY: Final = """
SELECT
  CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn()
        AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_wal_receiver) THEN 0
       ELSE extract(epoch FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8 END
"""
"""What has replayed all that it received is not behind, as long as it receives."""


class ReplicationLagOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PostgreSQL: pg_stat_replication on a primary (needs `pg_monitor`), the last replay on a standby; Redis: INFO.

    MariaDB and MySQL: the status of a replica (needs `REPLICA MONITOR` or `REPLICATION CLIENT`); a primary knows none.
    """

    max_lag_seconds: Annotated[float, msgspec.Meta(gt=0)]
    """It fails above this; of several replicas, the one that is furthest behind counts. A replica of Redis hears of \
an idle master every `repl-ping-replica-period`, which is 10 s."""


def _see(options: ReplicationLagOptions, context: CheckContext) -> See:
    lags = {postgresql_session.KIND: _postgresql, redis_session.KIND: _redis}.get(context.kind, _mysql)

    def see(subject: Subject) -> Found:
        seen = lags(context, subject)
        if not seen:
            raise NotSeen("nothing replicates here")
        value = max(seen.values())
        text = ", ".join(f"{name} is {lag:.1f} s behind" for name, lag in seen.items())
        return Found(judged(value, fail=options.max_lag_seconds), text, value)

    return see


def _postgresql(context: CheckContext, subject: Subject) -> dict[str, float]:
    with postgresql_session.session(context, subject) as opened:
        if opened.one("SELECT pg_catalog.pg_is_in_recovery()")[0]:
            (lag,) = opened.one(_STANDBY)
            if lag is None:
                raise NotSeen("this standby has replayed no transaction since it started")
            return {"this standby": lag}
        rows = opened.ask(_PRIMARY)
    if any(lag is None for _, lag in rows):
        raise NotSeen("a replica does not tell its lag, or this login may not see it (GRANT pg_monitor)")
    return {f"replica {number} ({name})": lag for number, (name, lag) in enumerate(rows, 1)}


def _mysql(context: CheckContext, subject: Subject) -> dict[str, float]:
    """A replica tells how far it is behind; what it replicates from does not know."""
    with mysql_session.session(context, subject) as opened:
        return opened.lags()


def _redis(context: CheckContext, subject: Subject) -> dict[str, float]:
    seen: dict[str, float] = {}
    for each in redis_session.each_node(context, subject, _redis_node):
        seen.update(each)
    return seen


def _redis_node(node: redis_session.Session) -> dict[str, float]:
    """Read the lag: a master's of each replica, and a replica's own, from its last exchange with the master."""
    told = node.info("replication")
    if told.get("role") == "slave":
        if told.get("master_link_status") != "up":
            raise OutOfReach(f"{node.node}: the link to its master is {told.get('master_link_status', 'unknown')}")
        return {node.node: node.numbers("replication")("master_last_io_seconds_ago")}
    seen = {}
    for key, line in told.items():
        if key.startswith("slave") and key.removeprefix("slave").isdigit():
            fields = dict(part.partition("=")[::2] for part in line.split(","))
            if fields.get("state") != "online" or not fields.get("lag", "").isdigit():
                raise OutOfReach(f"{node.node}: the replica at port {fields.get('port')} is not online")
            seen[f"the replica of {node.node} at port {fields.get('port')}"] = float(fields["lag"])
    return seen


REPLICATION_LAG: Final = declared(
    "replication_lag",
    "how far replicas are behind",
    ReplicationLagOptions,
    _see,
    unit="s",
    kinds=frozenset({postgresql_session.KIND, redis_session.KIND, *mysql_session.KINDS}),
)
