"""Shows, by hand, that the tests of the keys of channels notice: `python -m tests.unit.notifiers.ignoring [KEY…]`.

For each key of tests/unit/notifiers/test_keys.py, the test that it names is run while the channel ignores the key: it
is built as if the key were not there, or, where it must be there, as if it said something else. Prints the keys whose
test passes all the same, and exits with 1 where there are any. As a plugin of pytest it makes one key, that of
`KEYTURN_TEST_IGNORED`, ignored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from adapters.notifiers.apprise import AppriseNotifier
from adapters.notifiers.mail_notifier import EmailNotifier
from adapters.notifiers.pagerduty import PagerDuty
from adapters.notifiers.slack import Slack
from adapters.notifiers.webhook import Webhook
from adapters.registry import NOTIFIER_GROUP, SHIPPED, notifier_adapter
from engine.adapter import Reference
from tests.ignoring import VARIABLE, prove, without
from tests.unit.notifiers.test_keys import KEYS

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
    return 1 if prove(KEYS, "tests.unit.notifiers.ignoring", keys) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
