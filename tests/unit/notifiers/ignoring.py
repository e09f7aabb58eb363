"""Shows, by hand, that the tests of the keys of channels notice: `python -m tests.unit.notifiers.ignoring [KEY…]`.

For each key of tests/unit/notifiers/test_keys.py, the test that it names is run while the channel ignores the key: it
is built as if the key were not there, or, where it must be there, as if it said something else. Prints the keys whose
test passes all the same, and exits with 1 where there are any. As a plugin of pytest it makes one key, that of
`KEYTURN_TEST_IGNORED`, ignored.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import force_setattr

from adapters.notifiers.apprise import AppriseNotifier
from adapters.notifiers.mail_notifier import EmailNotifier
from adapters.notifiers.pagerduty import PagerDuty
from adapters.notifiers.slack import Slack
from adapters.notifiers.webhook import Webhook
from adapters.registry import NOTIFIER_GROUP, SHIPPED, notifier_adapter
from engine.adapter import Reference
from tests.unit.notifiers.test_keys import KEYS

VARIABLE: Final = "KEYTURN_TEST_IGNORED"
_CLASSES: Final = {
    "slack": Slack,
    "pagerduty": PagerDuty,
    "email": EmailNotifier,
    "webhook": Webhook,
    "apprise": AppriseNotifier,
}
"""What is built of the options; of `file`, which builds more than it keeps, the adapter is watched instead."""
_ELSE: Final[dict[str, Any]] = {
    "file.path": "ignored",
    "pagerduty.integration_key": Reference("env", "IGNORED"),
    "email.smtp.host": "ignored.invalid",
    "email.from": "ignored@ignored.test",
    "email.to": ("ignored@ignored.test",),
    "webhook.url": "https://ignored.invalid/",
    "webhook.auth.type": "bearer",
}
"""What stands for a key that must be there."""


_FAILED: Final = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR)
"""How pytest ends where a test fails, and where what its file builds is refused before any test is found."""


def without(options: Any, path: Sequence[str], other: Any) -> Any:
    """Return the options as if a key said what it says by default, or `other` where it must be there."""
    if options is None:
        return None
    name, *below = path
    fields = {field.encode_name: field for field in msgspec.structs.fields(type(options))}
    field = fields[name]
    changed = copy.copy(options)
    value: Any = other
    if below:
        value = without(getattr(options, field.name), below, other)
    elif field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    force_setattr(changed, field.name, value)  # without the checks: what is ignored is not looked at
    return changed


def ignore(key: str) -> None:
    """Have the channel ignore a key from now on."""
    kind, *path = key.split(".")
    if kind not in _CLASSES:
        adapter = notifier_adapter(kind)
        build = adapter.build
        object.__setattr__(
            adapter, "build", lambda options, context: build(without(options, path, _ELSE[key]), context)
        )
        return
    built: Any = _CLASSES[kind]
    construct = built.__init__

    def ignoring(self: object, options: Any, context: Any, **further: Any) -> None:
        construct(self, without(options, path, _ELSE.get(key)), context, **further)

    built.__init__ = ignoring


def pytest_configure() -> None:
    """Make the key ignored that the environment names."""
    ignore(os.environ[VARIABLE])


def main(keys: Sequence[str]) -> int:
    """Run the test of each key, and tell which do not notice."""
    assert {key.split(".")[0] for key in KEYS} == set(SHIPPED[NOTIFIER_GROUP])
    unnoticed = []
    for key in keys or KEYS:
        plugin = ("-p", "tests.unit.notifiers.ignoring", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", "-q", "-x", *plugin, KEYS[key]]
        done = subprocess.run(command, env={**os.environ, VARIABLE: key}, capture_output=True, text=True, check=False)
        is_noticed = done.returncode in _FAILED
        print(f"{key:<40} {'noticed' if is_noticed else f'NOT NOTICED ({done.returncode})'}", flush=True)
        unnoticed += [] if is_noticed else [key]
    print(f"{len(keys or KEYS)} keys, {len(unnoticed)} not noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
