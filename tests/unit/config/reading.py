"""Short ways to read a configuration in a test, and a plugin that is announced as an installed package would."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from adapters.config.load import parse
from adapters.config.model import Configuration
from adapters.config.problems import ConfigInvalid, Problem

STORES = "{held: {type: memory}}"

SERVICE = """\
version: 1
secretStores: {held: {type: memory}, other: {type: memory}, plain: {type: env-file, path: ./app.env}}
services:
  app:
    type: %(type)s
    credential: {username: app, store: held, key: default/app}
    %(keys)s
    rotation: {strategy: %(strategy)s, %(rotation)s}
"""


def reads(text: str) -> Configuration:
    """Return the configuration in `text`, as if it stood in /etc/keyturn/keyturn.yaml."""
    return parse(textwrap.dedent(text).encode(), path=Path("/etc/keyturn/keyturn.yaml"), shown="keyturn.yaml")


def problems(text: str | bytes) -> list[Problem]:
    """Return what is wrong with a configuration that must be wrong."""
    raw = textwrap.dedent(text).encode() if isinstance(text, str) else text
    with pytest.raises(ConfigInvalid) as raised:
        parse(raw, path=Path("/etc/keyturn/keyturn.yaml"), shown="keyturn.yaml")
    return list(raised.value.problems)


def only(text: str | bytes) -> Problem:
    """Return the one thing that is wrong with a configuration."""
    found = problems(text)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def service(*, rotation: str = "", keys: str = "", strategy: str = "dual", target: str = "memory") -> str:
    """Return a configuration with one service, `app`, with these keys in its `rotation` or beside it."""
    return SERVICE % {"type": target, "keys": keys, "strategy": strategy, "rotation": rotation}


PLUGIN = '''
"""A plugin: one target and one store, with an option of every form, and ways to reach instances by telephone."""

from typing import Annotated, Any, Literal

import msgspec

from engine.adapter import (
    DiscoveryAdapter,
    DistributorAdapter,
    Duration,
    Reference,
    StoreAdapter,
    TargetAdapter,
)
from engine.plan import Strategy


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A login."""

    username: str
    password: Reference


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of every form."""

    host: str
    """Where it is."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    database: str | None = None
    tls: Literal["verify-full", "disable"] = "verify-full"
    nodes: tuple[str, ...] = ()
    timeout: Duration = Duration(3_000_000)
    ratio: float = 0.5
    verbose: bool = False
    labels: dict[str, str] = {}
    admin_credentials: Login | None = None
    token: Reference | None = None

    def __post_init__(self) -> None:
        if self.host == self.database:
            raise ValueError("`host` and `database` are the same")


class StoreOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A store that is opened with a secret."""

    token: Reference | None = None


def build(options: Any, context: Any) -> Any:
    import a_driver_that_nobody_has


class Telephone:
    """Keeps what it is built with."""

    def __init__(self, options: Any, context: Any) -> None:
        self.options = options
        self.context = context


STRATEGIES = frozenset({Strategy.SINGLE, Strategy.ALTERNATING})
TARGET = TargetAdapter("widget", "a widget", Options, STRATEGIES, build, "widgets")
STORE = StoreAdapter("drawer", "a drawer", StoreOptions, build, "widgets")
LISTING = DiscoveryAdapter("telephone", "asks around", StoreOptions, Telephone)
CALLING = DistributorAdapter("telephone", "calls", StoreOptions, Telephone)
LISTING_LATER = DiscoveryAdapter("driverless", "asks around", StoreOptions, build)
CALLING_LATER = DistributorAdapter("driverless", "calls", StoreOptions, build)
'''

ENTRY_POINTS = """\
[keyturn.targets]
widget = keyturn_widget:TARGET
broken = keyturn_widget_that_is_gone:TARGET
nameless = keyturn_widget:NOTHING
mistaken = keyturn_widget:STORE

[keyturn.stores]
drawer = keyturn_widget:STORE

[keyturn.discovery]
telephone = keyturn_widget:LISTING
driverless = keyturn_widget:LISTING_LATER

[keyturn.distributors]
telephone = keyturn_widget:CALLING
driverless = keyturn_widget:CALLING_LATER
"""


def install_plugin(folder: Path) -> None:
    """Lay out an installed package in `folder`, as pip would."""
    (folder / "keyturn_widget.py").write_text(PLUGIN)
    information = folder / "keyturn_widget-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: keyturn-widget\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
