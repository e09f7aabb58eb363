"""Twenty processes with pools of their own are moved from one login to the other, wave by wave, on a real PostgreSQL.

Rule: what counts is what the processes themselves counted: logins that failed, queries that failed, what they use.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine import events as e
from engine.machine import State
from engine.plan import Strategy
from tests.integration.fleet_bench import App, apps
from tests.integration.installations import Driver, Installation, install
from tests.integration.sites import KEY, PostgresSite, Site

pytestmark = pytest.mark.slow

FLEET = 20
QUICK = ", retry: {first: 100ms, longest: 200ms}"

WAVES = """
      health_checks:
        monitoring_period: 400ms
        interval: 200ms
        checks: [{type: script, script: ./look.sh}]
      canary: {instance_selector: role=canary, health_monitoring_period: 1s, failure_threshold: 2}
      rollout:
        waves:
          - {percentage: 10, health_monitoring: 400ms}
          - {percentage: 50, health_monitoring: 400ms}
          - {percentage: 100, health_monitoring: 400ms}
        interval: 200ms
        max_unverified: 10
      distribution:
        type: http
        parallelism: 5
        auth: {type: bearer, token: "env://KEYTURN_TEST_TOKEN"}
        allow_http: true
        allow_private: [127.0.0.0/8]
"""


def settings_of(number: int, site: PostgresSite, installation: Installation) -> dict[str, object]:
    """Return what an application is given: its database, and where it reads versions."""
    server = site.database.server
    work = installation.config.parent
    return {
        "id": f"web-{number}",
        "database": {"host": server.host, "port": server.port, "dbname": site.database.name},
        "connections": 1,
        "store": {"path": str(work / "secrets.kt"), "key_file": str(work / "master.key"), "key": KEY},
        "query_seconds": 0.5,
    }


def tell(app: App, version: str) -> None:
    """Have an application use a version, as whoever deployed it did."""
    body = json.dumps({"version": version, "key": KEY}).encode()
    request = urllib.request.Request(f"{app.url}/keyturn/version", data=body, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status == 204


def entries(running: list[App]) -> list[dict[str, object]]:
    """Return the instances, as a list of them would be written."""
    return [
        {
            "id": app.id,
            "endpoint": app.url,
            "zone": f"zone-{number % 3}",
            "labels": {"role": "canary" if number == 0 else "web"},
        }
        for number, app in enumerate(running)
    ]


@contextmanager
def listing(running: list[App]) -> Iterator[str]:
    """Serve the list of instances; yield its URL."""
    body = json.dumps({"instances": entries(running)}).encode()

    class Listing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/instances"
        server.shutdown()
        thread.join()


def discovery(kind: str, running: list[App], url: str) -> str:
    """Return how the instances are found, as the configuration says it."""
    if kind == "explicit":
        return f"      discovery: {{type: explicit, instances: {json.dumps(entries(running))}}}\n"
    return f'      discovery: {{type: endpoint, url: "{url}", allow_http: true, allow_private: [127.0.0.0/8]}}\n'


@contextmanager
def fleet(site: Site, driver: Driver, folder: Path, kind: str) -> Iterator[tuple[Installation, list[App], str]]:
    """Run twenty applications that use a first version, with their installation; yield that version as well."""
    assert isinstance(site, PostgresSite)
    installation = install(folder, site, driver, grace="0s", settings=QUICK)
    installation.done("rotate", "app")
    looks = installation.config.parent / "look.sh"
    looks.write_text(f"#!/bin/sh\n[ ! -e {folder}/unwell ] || exit 2\n")
    looks.chmod(0o700)
    first = installation.credential().current
    assert first is not None
    with apps(*(settings_of(number, site, installation) for number in range(FLEET))) as running:
        for app in running:
            tell(app, first.id)
        with listing(running) as url:
            text = installation.config.read_text()
            head, _, tail = text.partition("    rotation: {")
            flow = tail.strip().removesuffix("}")
            block = "".join(f"      {each}\n" for each in _entries_of(flow))
            installation.config.write_text(f"{head}    rotation:\n{block}{discovery(kind, running, url)}{WAVES}")
            yield installation, running, first.id


def _entries_of(flow: str) -> list[str]:
    """Return the entries of a mapping in one line, each on a line of its own."""
    found, depth, start = [], 0, 0
    for at, character in enumerate(flow):
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0:
            found.append(flow[start:at].strip())
            start = at + 1
    return [*found, flow[start:].strip()]


@pytest.mark.parametrize("kind", ["explicit", "endpoint"])
def test_twenty_processes_are_moved_and_no_login_fails(
    kind: str, tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """The canary, then 10, 50 and 100 per cent."""
    with fleet(make_site(Strategy.ALTERNATING), drivers[0], tmp_path, kind) as (installation, running, first):
        ended = installation.run("rotate", "app", "--json", environ={"KEYTURN_TEST_TOKEN": "canary-token"})
        assert ended.code == 0, ended
        rotation = installation.rotations()[-1]
        counted = [app.stats() for app in running]
        told = [fact.body for fact in installation.facts() if isinstance(fact.body, e.RolloutPlanned)]
    assert rotation.state in (State.COMPLETED, State.GRACE)
    assert rotation.candidate != first
    assert [len(wave.instances) for wave in told[-1].waves] == [1, 1, 8, 10]
    assert {each["version"] for each in counted} == {rotation.candidate}
    assert {each["changes"] for each in counted} == {2}  # the first version, and this one
    assert {(each["failed_logins"], each["failed_queries"]) for each in counted} == {(0, 0)}
    assert all(each["queries"] > 0 for each in counted)


def test_a_canary_that_is_unwell_goes_back_and_nobody_else_was_told(
    tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """Nineteen are never touched, and the canary ends where it was."""
    with fleet(make_site(Strategy.ALTERNATING), drivers[0], tmp_path, "explicit") as (installation, running, first):
        (tmp_path / "unwell").touch()
        ended = installation.run("rotate", "app", "--json", environ={"KEYTURN_TEST_TOKEN": "canary-token"})
        assert ended.code == 3, ended
        rotation = installation.rotations()[-1]
        canary, *others = [app.stats() for app in running]
    assert rotation.state is State.ROLLED_BACK
    assert rotation.automatic
    assert {each["version"] for each in (canary, *others)} == {first}
    assert canary["changes"] == 3  # the first version, the candidate, and the first again
    assert {(each["told"], each["changes"]) for each in others} == {(1, 1)}
    assert {(each["failed_logins"], each["failed_queries"]) for each in (canary, *others)} == {(0, 0)}
