"""A secret that came into an error of the target, or into a reason, leaves on no channel; and people hear of it.

The target is PostgreSQL behind a plugin that quotes, in what a person is told of a verification, what it must not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine import channel_events as c
from engine.plan import Strategy
from tests.architecture.source import ROOT
from tests.integration.installations import Ended
from tests.integration.leaks import hits
from tests.integration.listeners import EVERY, HOOK_TOKEN, Listeners, listening
from tests.integration.sites import SERVICE
from tests.integration.stories import DONE, QUICK, ROLLED_BACK, Begin, Story

pytestmark = pytest.mark.slow

PLUGIN = '''
"""PostgreSQL, but what people are told of a verification has a text of the environment in it."""

import os

import msgspec

from adapters.targets.postgresql import ADAPTER, PostgresqlTarget
from engine.adapter import TargetAdapter


class Quoting(PostgresqlTarget):
    def verify(self, value, *, control):
        seen = super().verify(value, control=control)
        text = os.environ["KT_QUOTED"].replace("NEW", value.revealed())
        return msgspec.structs.replace(seen, query=False, detail=f"the server said: {text}")


def build(options, context):
    made = ADAPTER.build(options, context)
    return Quoting(made.options, made.context, made.server)


TARGET = TargetAdapter("quoting", "quotes", ADAPTER.options, ADAPTER.strategies, build)
'''

QUICK_ONES = ("webhook", "file")
"""Channels that need not wait between two messages."""
HARMLESS = "a text that is no secret"


@dataclass
class Quoted:
    """An installation whose target quotes, and who listens to it."""

    story: Story
    listeners: Listeners
    plugins: Path

    def rotate(self, quoted: str, *arguments: str) -> Ended:
        """Run `keyturn rotate`; `NEW` in what is quoted is the new password."""
        return self.run("rotate", SERVICE, *arguments, quoted=quoted)

    def run(self, *arguments: str, quoted: str = "") -> Ended:
        """Run the command line in an interpreter of its own, which finds the plugin."""
        command = [sys.executable, "-m", "adapters.cli.main", *self.story.installation.call(*arguments)["arguments"]]
        environment = {**os.environ, **self.listeners.environment, "KT_QUOTED": quoted}
        environment["PYTHONPATH"] = f"{ROOT}:{self.plugins}"
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def secrets(self) -> dict[str, str]:
        """Return every password of the service, our own login's, and the token of the webhook."""
        installation = self.story.installation
        values = {version: value.revealed() for version, value in installation.values().items()}
        return {**values, "admin": installation.site.password, "token": HOOK_TOKEN}

    def listen(self, *names: str) -> None:
        """Have these channels told from now on."""
        self.listeners.tell(self.story.installation, *names)

    def leaks(self) -> list[str]:
        """Return which secret came to which sink, in which spelling."""
        return hits(self.secrets(), self.listeners.bytes_received())

    def blocked(self) -> set[str]:
        """Return the channels that a message was blocked of, by their names in the configuration."""
        bodies = [fact.body for fact in self.story.installation.facts()]
        return {body.channel.rpartition("-")[0] for body in bodies if isinstance(body, c.NotificationBlocked)}


@pytest.fixture
def quoted(begin: Begin, tmp_path: Path) -> Iterator[Quoted]:
    """An installation that was rotated once, before its target began to quote."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "keyturn_quoting.py").write_text(PLUGIN)
    information = plugins / "keyturn_quoting-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: keyturn-quoting\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[keyturn.targets]\nquoting = keyturn_quoting:TARGET\n")
    story = begin(Strategy.ALTERNATING, settings=QUICK)
    config = story.installation.config
    config.write_text(config.read_text().replace("type: postgresql", "type: quoting"))
    with listening(story.installation) as listeners:
        yield Quoted(story, listeners, plugins)


def test_the_new_password_in_an_error_and_the_old_one_in_a_reason_leave_on_no_channel(quoted: Quoted) -> None:
    """Not even when the rotation went back, and the new one has no label any more; nor when all is sent again."""
    quoted.listen(*EVERY)
    old = quoted.story.installation.current().revealed()
    ended = quoted.rotate("NEW", "--reason", f"{old} leaked")
    assert ended.code == ROLLED_BACK, ended
    assert quoted.run("notify", "outbox", "--replay").code == DONE
    assert quoted.leaks() == []
    assert quoted.blocked() == set(EVERY)
    for name in EVERY:
        assert "does not deliver" in "".join(quoted.listeners.words(name)), f"{name} heard of no other"
    assert quoted.listeners.refused == []


@pytest.mark.parametrize("which", ["old", "new", "admin", "token"])
def test_a_secret_in_an_error_stays_here_and_the_other_channel_tells_of_it(quoted: Quoted, which: str) -> None:
    """The passwords of both versions, that of our own login, and the token that a channel shows its sink."""
    quoted.listen(*QUICK_ONES)
    installation = quoted.story.installation
    secret = {"old": installation.current().revealed(), "admin": installation.site.password, "token": HOOK_TOKEN}
    ended = quoted.rotate(secret.get(which, "NEW"))
    assert ended.code == ROLLED_BACK, ended
    assert quoted.leaks() == []
    assert quoted.blocked() == set(QUICK_ONES)
    for name in QUICK_ONES:
        assert quoted.listeners.told(name) == ["started", "undelivered", "undelivered"]
        assert "stands in it" in quoted.listeners.words(name)[-1]


def test_what_a_target_says_arrives_where_it_is_no_secret(quoted: Quoted) -> None:
    """That the tests above would see a secret that leaves."""
    quoted.listen(*QUICK_ONES)
    assert quoted.rotate(HARMLESS).code == ROLLED_BACK
    assert quoted.blocked() == set()
    for name in QUICK_ONES:
        assert [HARMLESS in each for each in quoted.listeners.words(name)] == [False, True, True]
    assert quoted.leaks() == []
    planted = {"planted": "".join(quoted.secrets().values()).encode()}
    assert {hit.split()[1] for hit in hits(quoted.secrets(), planted)} == set(quoted.secrets())
