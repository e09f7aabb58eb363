"""The keys of the configuration file, as types: what may stand where, and the defaults.

Rule 1: a key is honoured, or refused by name (`refused.py`); none is swallowed.
Rule 2: the text below a field is its line in the reference documentation and in the JSON Schema.
Rule 3: what needs more than one place of the file to be judged is judged in `checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from adapters.config.rollout_keys import Canary, Rollout
from adapters.schedule import Windows
from engine.adapter import Duration
from engine.group_events import FailurePolicy
from engine.passwords import ALPHABETS, PasswordRule
from engine.plan import Strategy
from engine.values import SECOND

NAME_PATTERN: Final = r"\A[a-z0-9][a-z0-9._-]{0,63}\Z"
"""Names of services, stores and environments: they become parts of file names, metrics and streams."""

KEY_PATTERN: Final = r"\A(?!.*(\A|/)\.{1,2}(/|\Z))[A-Za-z0-9._@+=-]+(/[A-Za-z0-9._@+=-]+)*\Z"
"""Paths in a store: segments between slashes, none of them `.` or `..`, so that none leads out of the store."""

NAME_FORM: Final = "lower case letters, digits, . _ and -, at most 64 of them, a letter or digit first"
_KEY_FORM: Final = "names between slashes, of letters, digits and . _ @ + = -, none of them . or .."

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, description=NAME_FORM)]
Key = Annotated[str, msgspec.Meta(pattern=KEY_PATTERN, max_length=512, description=_KEY_FORM)]
Username = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]

StrategyName = Literal[
    "single",
    "alternating",
    "dual",
    "issue",
    "script",
    "immediate",
    "two-key",
    "overlap",
    "canary",
    "percentage_rollout",
]

EventWord = Literal[
    "completed",
    "failed",
    "overdue",
    "paused",
    "resumed",
    "rollback",
    "rollback_failed",
    "rollback_started",
    "rolled_back",
    "started",
    "undelivered",
    "waiting",
    "wave_completed",
]

ALIASES: Final[dict[str, tuple[Strategy, ...]]] = {
    "immediate": (Strategy.SINGLE,),
    "two-key": (Strategy.DUAL, Strategy.ALTERNATING),
    "overlap": (Strategy.DUAL, Strategy.ALTERNATING),
    "canary": (Strategy.DUAL, Strategy.ALTERNATING),
    "percentage_rollout": (Strategy.DUAL, Strategy.ALTERNATING),
}
"""Names of strategies in dsops: each stands for the first of these that the type of the service can do."""

IN_WAVES: Final = frozenset({"canary", "percentage_rollout"})
"""The dsops names that ask for waves as well; `percentage_rollout` has no canary unless it is given one."""


TEMPLATE_DEFAULT: Final = "{{ password }}"
"""The template of a place that has none."""


class Characters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alphabet of one's own."""

    characters: Annotated[str, msgspec.Meta(min_length=2, max_length=94)]
    """The characters, each once: printable ASCII without the space."""


AlphabetName = Literal["url-safe", "alphanumeric", "hex", "ascii-printable"]


class Password(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a new password is made."""

    length: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    """Characters of a generated password; length and alphabet together must give 128 bits."""
    alphabet: AlphabetName | Characters = "url-safe"
    """`url-safe` (A-Z a-z 0-9 - _), `alphanumeric`, `hex`, `ascii-printable` or `{characters: "…"}`."""
    allow_weak_reason: str = ""
    """Why fewer than 128 bits are all right here; without a reason they are refused."""

    @property
    def rule(self) -> PasswordRule:
        """The same for the generator."""
        named = ALPHABETS[self.alphabet] if isinstance(self.alphabet, str) else self.alphabet.characters
        return PasswordRule(self.length, named)


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logging in with the new value before anybody depends on it."""

    timeout: Duration = Duration(30 * SECOND)
    """How long one verification may take."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    """Verifications before the rotation goes back."""


class Rollback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Going back by itself."""

    automatic: bool = True
    """Go back without asking; otherwise a failed rotation rests until an operator decides."""
    on_verification_failure: bool = True
    """Go back when the new value does not work."""
    on_health_check_failure: bool = True
    """Go back when a health check fails too often; otherwise the rotation ends as failed, for a person to decide."""
    timeout: Duration = Duration(30 * SECOND)
    """How long one try of going back may take."""
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=20)] = 2
    """Tries after the first before a person is called."""


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trying again what did not happen, other than verifying: the delay doubles, with full jitter."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    """Tries of one step before the rotation goes back."""
    first: Duration = Duration(1 * SECOND)
    """The delay before the second try."""
    longest: Duration = Duration(60 * SECOND)
    """The longest delay."""


class HealthChecks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Looking whether all is well after promotion, before the old version's grace period begins."""

    enabled: bool = True
    """Look at all."""
    monitoring_period: Duration = Duration(600 * SECOND)
    """How long the checks are to pass."""
    interval: Duration = Duration(30 * SECOND)
    """From one look to the next."""
    failure_threshold: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3
    """Failures of one check in a row before the rotation goes back."""
    inconclusive_threshold: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """Looks of one check in a row that showed nothing, before a person is called; silence never passes."""
    checks: tuple[dict[str, Any], ...] = ()
    """What is looked at: a `type` and its options each; `connection` where nothing is listed."""
    custom_scripts: tuple[dict[str, Any], ...] = ()
    """Programs of your own, which look as well: the options of the type `script`."""


class CheckKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A health check."""

    type: str
    """The kind of check."""
    name: Name | None = None
    """How it is called; its type where no name is given. Of several of one type, each needs a name."""
    timeout: Duration = Duration(10 * SECOND)
    """How long one look may take."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a credential is rotated."""

    strategy: StrategyName
    """How the target holds two versions. `immediate`, `two-key`, `overlap`, `canary` and `percentage_rollout` are \
names that dsops has for them."""
    usernames: tuple[Username, ...] = ()
    """The two logins of `alternating`, which take turns; other strategies have none."""
    ttl: Duration | None = None
    """Due this long after the last promotion; without it, only when asked for."""
    schedule: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    """A cron expression, such as `0 3 * * 1-5`: due at its first time after the last rotation."""
    timezone: str | None = None
    """The time zone of `schedule` and `windows`, as in `Europe/Oslo`; UTC where none is given."""
    windows: Windows = Windows()
    """When a rotation may begin; going back, going on and retiring are never held up."""
    grace_period: Duration | None = None
    """How long the old version stays valid beside the new one; 24h where both can be valid, else none."""
    password: Password = Password()
    """How a new password is made."""
    verification: Verification = Verification()
    """Logging in with the new value."""
    rollback: Rollback = Rollback()
    """Going back by itself."""
    retry: Retry = Retry()
    """Trying again."""
    keep_versions: Annotated[int, msgspec.Meta(ge=3, le=1000)] = 10
    """Versions that the store keeps; older ones are deleted when it is safe. Rollback reaches no further."""
    attempt_window: Duration = Duration(5 * SECOND)
    """After this long an attempt at the target can no longer take effect; another value waits that long for it."""
    health_checks: HealthChecks | None = None
    """Looking whether all is well after promotion; without it, the verification is the check."""
    canary: Canary | bool | None = None
    """The first wave of instances; `false` for none. Without it there is one where there are waves."""
    rollout: Rollout | None = None
    """How a version is handed to the instances, wave by wave."""
    discovery: dict[str, Any] | None = None
    """Who uses the credential: a `type` and its options. Without it nobody is handed anything: the stores tell."""
    distribution: dict[str, Any] | None = None
    """How an instance is given a version: a `type` and its options."""
    notifications: dict[str, Any] = {}
    """Who is told of what happens: a kind of channel and its options, or a list of them."""


class ChannelKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel of notifications."""

    name: Name | None = None
    """How the channel is called; its kind where none is given. Of several of one kind, each needs a name."""
    events: tuple[EventWord, ...] = ()
    """What it is told of; everything where nothing is listed. `failed` also selects that a rotation failed and goes \
back, that a rollback failed, and that another channel is in trouble; `rollback` selects its beginning and its end."""


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The credential of a service: whose it is, and where it is held."""

    username: Username
    """The login; for `alternating` the role that owns things and that both logins belong to."""
    store: Name
    """The store that holds its versions."""
    key: Key
    """The path in that store."""


class Publish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further place where the current version is written."""

    store: Name
    """The store that is written to."""
    key: Key
    """The path, or the name of the variable, in that store."""
    template: str = TEMPLATE_DEFAULT
    """What is written there. Names: username, password, service, environment, version, host, port, database and \
the other plain options of the service; filters: urlencode, tojson, b64encode."""


class ServiceKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service: a target, the credential on it, the places it is published to, its rotation."""

    type: str
    """The kind of target; its options stand beside these keys."""
    environment: Name = "default"
    """Part of the identity of the credential, as in `production`: with another one it is another credential."""
    credential: Credential
    """The credential that is rotated."""
    publish: tuple[Publish, ...] = ()
    """Further places, written when a version becomes current."""
    rotation: Rotation
    """How it is rotated."""


class StoreKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store."""

    type: str
    """The kind of store; its options stand beside this key."""


class Prometheus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How metrics are exposed to Prometheus."""

    enabled: bool = True
    """`keyturn serve` shows them."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9090
    """Where `keyturn serve` listens on 127.0.0.1; 0 is any free port. `--listen` goes first."""
    path: Annotated[str, msgspec.Meta(pattern=r"\A/[A-Za-z0-9._/-]*\Z")] = "/metrics"
    """Their path."""
    labels: dict[str, str] = {}
    """Labels that every series gets, such as `team: platform`; with `keyturn metrics --push` they name its group."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metrics of `keyturn metrics`."""

    prometheus: Prometheus = Prometheus()
    """How they are exposed."""
    compat: Literal["dsops"] | None = None
    """`dsops`: expose them under the names of dsops as well, so that its dashboards go on."""


class CrossChecks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Looking whether the services of a group go together, after each step."""

    enabled: bool = True
    """Look at all."""
    checks: tuple[dict[str, Any], ...] = ()
    """What is looked at, at each service that the check fits: a `type` and its options each."""
    timeout: Duration = Duration(60 * SECOND)
    """How long the checks may take to pass, from the end of the step."""
    interval: Duration = Duration(5 * SECOND)
    """From one look to the next."""


class GroupRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the services of a group are rotated together."""

    strategy: Literal["sequential", "parallel"] = "sequential"
    """One after the other, or all side by side."""
    dependency_order: list[Any] | dict[str, Any] | None = None
    """The order: a list of services, where a list within it is rotated side by side; or a mapping from a service to \
those that come before it. The order of `services` where none is given."""
    failure_policy: FailurePolicy = FailurePolicy.ROLLBACK_ALL
    """What follows when a service cannot be rotated: all go back, the last first; only that one, and no further one \
is rotated; or only that one, and the others are rotated all the same."""
    cross_service_verification: CrossChecks | None = None
    """Looking whether the services go together, after each step."""


class ServiceGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Services that are rotated together by `keyturn group rotate NAME`."""

    name: Name
    """What the group is called."""
    description: str = ""
    """What it is, for people."""
    services: tuple[Name, ...]
    """Its services."""
    rotation: GroupRotation = GroupRotation()
    """How they are rotated."""


class FileKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file as a whole."""

    version: Literal[1]
    """The version of this format."""
    state: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The state folder; without it the user's data folder. `--state` and `KEYTURN_STATE` go first."""
    lease: Duration = Duration(30 * SECOND)
    """How long a process that is stopped keeps a rotation that it drives, before another one may take it over: `2s` \
to `1h`. One that works keeps it however long a step takes, because a thread of it renews the lease four times over; \
one that died loses it at once."""
    metrics: Metrics = Metrics()
    """The metrics."""
    secretStores: dict[str, Any] = {}  # noqa: N815 - the key as it is written
    """The stores by name."""
    services: dict[str, Any] = {}
    """The services by name."""
    service_groups: tuple[ServiceGroup, ...] = ()
    """Services that are rotated together."""
