"""Shows, by hand, that the tests of keys notice: `python -m tests.unit.config.ignoring [KEY…]`.

For each key of tests/unit/config/test_keys.py, the test that it names is run while the key is ignored: the file is read
as if the key did not stand in it, or the check is built as if the option were not given, or, where it must be, as if it
said something else. Prints the keys whose test passes all the same, and exits with 1 where there are any.

As a plugin of pytest it makes one key, that of `KEYTURN_TEST_IGNORED`, ignored, in the programs that a test starts as
well: those begin here, with `--within MODULE`.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from adapters.config import load
from adapters.registry import check_adapter
from tests.ignoring import VARIABLE, prove, without
from tests.unit.config.test_keys import KEYS

_MODULE: Final = "tests.unit.config.ignoring"
_WITHIN: Final = "--within"
_NOWHERE: Final = "http://127.0.0.1:9/"
_ELSE: Final[dict[str, Any]] = {
    "http_endpoint.url": _NOWHERE,
    "response_time.url": _NOWHERE,
    "error_rate.url": _NOWHERE,
    "rate_limit.url": _NOWHERE,
    "api_quota.url": _NOWHERE,
    "api_quota.limit": 1_000_000,
    "tcp.host": "127.0.0.2",
    "tcp.port": 9,
    "tls_expiry.host": "127.0.0.2",
    "prometheus.url": _NOWHERE,
    "prometheus.query": "ignored",
    "replication_lag.max_lag_seconds": 1_000.0,
    "script.script": "ignored",
}
"""What stands for an option that must be there."""


def dropped(node: Any, path: Sequence[str]) -> Any:
    """Return what was read of a file without what stands at a path; `*` is every key, and lists are gone through."""
    if isinstance(node, list):
        return [dropped(each, path) for each in node]
    name, *below = path
    if not isinstance(node, dict):
        return node
    return {
        key: dropped(value, below) if below and name in (key, "*") else value
        for key, value in node.items()
        if below or key != name
    }


def _places(key: str) -> list[list[str]]:
    """Return where in the file a key stands."""
    top, *below = key.split(".")
    rotation = ["services", "*", "rotation"]
    match top:
        case "rotation":
            return [[*rotation, *below]]
        case "check":
            return [[*rotation, "health_checks", where, *below] for where in ("checks", "custom_scripts")]
        case _:
            return [[top, *below]]


def ignore(key: str) -> None:
    """Have a key ignored from now on."""
    top, *path = key.split(".")
    if top == "options":
        _ignore_option(*path)
        return
    read = load._configuration

    def ignoring(root: Any, *further: Any) -> Any:
        for place in _places(key):
            root = dropped(root, place)
        return read(root, *further)

    vars(load)["_configuration"] = ignoring


def _ignore_option(kind: str, *path: str) -> None:
    adapter = check_adapter(kind)
    build, other = adapter.build, _ELSE.get(".".join((kind, *path)))

    def ignoring(options: Any, context: Any) -> Any:
        return build(without(options, path, other), context)

    object.__setattr__(adapter, "build", ignoring)


def pytest_configure() -> None:
    """Make the key ignored that the environment names, here and in what is started from here."""
    ignore(os.environ[VARIABLE])
    construct: Any = subprocess.Popen.__init__

    def starting(self: object, args: Any, *further: Any, **named: Any) -> None:
        if isinstance(args, list) and args[:2] == [sys.executable, "-m"]:
            args = [*args[:2], _MODULE, _WITHIN, *args[2:]]
        construct(self, args, *further, **named)

    subprocess.Popen.__init__ = starting  # type: ignore[method-assign]  # every way to start one leads here


def _run_within(module: str, *arguments: str) -> None:
    """Be a program that ignores the key."""
    ignore(os.environ[VARIABLE])
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == [_WITHIN]:
        _run_within(*sys.argv[2:])
    else:
        sys.exit(1 if prove(KEYS, _MODULE, sys.argv[1:]) else 0)
