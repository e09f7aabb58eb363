"""The pages on handing out versions: what they show can be configured so, and their programs do what they say."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import yaml

from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.distributors import exec as exec_
from adapters.distributors import http
from adapters.registry import DISTRIBUTOR_GROUP, SHIPPED, distributor_adapter
from engine.adapter import Reference
from engine.instances import Instance, Usage
from tests.contract.distributors import NEW, OLD, VALUES, soon
from tests.integration.distributor_bench import HERE, Bench, bench
from tests.sinks.vendor_server import HOST

__all__ = ["bench"]

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples" / "distribution"
PAGE = (DOCS / "how-to" / "hand-out-versions.md").read_text(encoding="utf-8")
REPORT = (DOCS / "reference" / "instance-report.md").read_text(encoding="utf-8")
SHOWN = [yaml.safe_load(text)["distribution"] for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
FILES = sorted(EXAMPLES.glob("*.yaml"))
SIGNING = "whsec_" + base64.b64encode(b"canary-signing-one-of-32-bytes-x").decode()


def converted(given: dict[str, Any]) -> object:
    """Read options as the configuration does; raises msgspec.ValidationError."""
    adapter = distributor_adapter(given["type"])
    options = {name: value for name, value in given.items() if name != "type"}
    return msgspec.convert(options, adapter.options, dec_hook=lambda _, raw: Reference.parse(raw))


def test_every_type_has_a_row_a_section_and_an_example() -> None:
    types = set(SHIPPED[DISTRIBUTOR_GROUP]) - {"memory"}  # which hands nothing to anybody
    assert set(re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE)) == types
    assert set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) == types
    assert {given["type"] for given in SHOWN} == types
    assert {file.stem for file in FILES} == types


@pytest.mark.parametrize("given", SHOWN, ids=lambda given: given["type"])
def test_what_the_page_shows_is_taken(given: dict[str, Any]) -> None:
    assert converted(given)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_can_be_used_as_it_stands(file: Path) -> None:
    configuration = load(file)
    assert not configuration.problems
    service = configuration.services["app-db"]
    assert service.distribution is not None
    assert service.distribution.type == file.stem
    assert Wiring(configuration, file.parent).distributor("app-db") is not None


def test_the_ten_lines_are_a_report(bench: Bench) -> None:
    """The class of the reference, served as it stands there, proves what its pool uses."""
    (code,) = re.findall(r"```python\n(.*?)```", REPORT, re.DOTALL)
    assert len(code.partition("class Report")[2].splitlines()) <= 10
    pool = SimpleNamespace(version=NEW, password=VALUES[NEW].revealed())
    given: dict[str, Any] = {"pool": pool}
    exec(code, given)  # noqa: S102 - it is our own page
    given["Report"].log_message = lambda *_: None
    server = ThreadingHTTPServer((HOST, 0), given["Report"])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        instance = Instance("web-1", endpoint=f"http://{HOST}:{server.server_address[1]}")
        distributor = bench.distributor(
            http.ADAPTER, signing_secret="env://SIGNING", allow_http=True, allow_private=[HERE]
        )
        seen = {each: distributor.look(instance, VALUES[each], version=each).usage for each in VALUES}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert seen == {OLD: Usage.OTHER, NEW: Usage.USED}


CONFIGURATION = """
version: 1
secretStores: {local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
services:
  app-db:
    type: memory
    environment: production
    credential: {username: app, store: local, key: production/app-db}
    rotation: {strategy: dual}
"""


@pytest.mark.slow
def test_the_example_of_an_instance_uses_what_it_is_told(bench: Bench) -> None:
    """It reads the version with the program itself, and refuses what is not signed."""
    (bench.folder / "keyturn.yaml").write_text(CONFIGURATION, encoding="utf-8")
    bench.store.stage("production/app-db", NEW, VALUES[NEW])
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(bench.folder),
        "SIGNING_SECRET": SIGNING,
    }
    command = [sys.executable, str(EXAMPLES / "instance.py"), str(port)]
    process = subprocess.Popen(command, cwd=bench.folder, env=environment)
    instance = Instance("web-1", endpoint=f"http://{HOST}:{port}")
    distributor = bench.distributor(
        http.ADAPTER,
        {"SIGNING": SIGNING},
        timeout=20,
        signing_secret="env://SIGNING",
        allow_http=True,
        allow_private=[HERE],
    )
    try:
        limit = time.monotonic() + 10
        while distributor.look(instance, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN and time.monotonic() < limit:
            time.sleep(0.02)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{instance.endpoint}/keyturn/version", data=b"{}", timeout=5)  # noqa: S310
        distributor.hand(instance, VALUES[NEW], version=NEW, deadline=soon(20))
        assert distributor.look(instance, VALUES[NEW], version=NEW).usage is Usage.USED
    finally:
        process.kill()
        process.wait()


_SSH = """#!/bin/sh
[ "$1 $2 $3" = "-o BatchMode=yes --" ] || exit 255
cd "$HOSTS/$4" && exec sh -c "$5"
"""
_REPORT = """#!{python} -IS
import hashlib, hmac, json, sys
held = json.load(open("credential.json"))
proof = hmac.new(sys.argv[1].encode(), held["password"].encode(), hashlib.sha256).hexdigest()
print(json.dumps({{"version": held["version"], "proof": proof}}))
"""


def test_the_example_of_programs_goes_by_ssh(bench: Bench) -> None:
    """With a stand-in for ssh that runs the command in a folder of this machine."""
    for name in ("hand-over.sh", "look.sh"):
        shutil.copy(EXAMPLES / name, bench.folder)
    host = bench.folder / "web-1"
    host.mkdir()
    for path, text in ((bench.folder / "ssh", _SSH), (host / "report", _REPORT.format(python=sys.executable))):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o700)
    (service,) = yaml.safe_load((EXAMPLES / "exec.yaml").read_text(encoding="utf-8"))["services"].values()
    given = {name: value for name, value in service["rotation"]["distribution"].items() if name != "type"}
    environment = {"SSH": str(bench.folder / "ssh"), "HOSTS": str(bench.folder)}
    with subprocess.Popen(["sleep", "60"]) as agent:
        (host / "pid").write_text(str(agent.pid))
        distributor = bench.distributor(exec_.ADAPTER, environment=environment, **given)
        distributor.hand(Instance("web-1"), VALUES[NEW], version=NEW, deadline=soon())
        assert agent.wait(5) == -1, "it was sent SIGHUP"
    assert (host / "credential.json").stat().st_mode & 0o077 == 0
    assert distributor.look(Instance("web-1"), VALUES[NEW], version=NEW).usage is Usage.USED
