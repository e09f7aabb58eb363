"""Keys and types that people may expect here and that this version does not do, with the reason for each.

Rule: what this version does is in `schema.py`. A key moves from here to there together with the code that honours
it; until then it is refused by name, because a key that is swallowed is a promise that nobody keeps.
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters.config import rollout_keys, schema
from engine.instances import Instance

_WAVES: Final = "how a version is handed out stands in `canary` and `rollout`"
_DISCOVERY: Final = "who the instances are stands in `rotation.discovery`"
_PROGRESS: Final = "how far it is stands in the event log, so that it survives the process"
_APPROVED: Final = "approval is asked for every wave after the first, with `rollout.require_approval`"
_NOTIFY: Final = "channels stand in `rotation.notifications` of each service"
_SCHEDULE: Final = "when a rotation is due stands in `schedule` and `ttl`, when it may begin in `windows`"
_HOOKS: Final = "no programs are run before or after a rotation; run them around `keyturn rotate`"
_APPROVAL: Final = (
    "nobody is asked before a rotation, which `keyturn plan` shows; before each wave it is `rollout.require_approval`"
)
_GROUPS: Final = "groups stand in `service_groups`"
_METRICS: Final = "metrics are those of the whole installation; they stand in `metrics` at the top"
_SERVE: Final = "it stands in `metrics.prometheus`"
_TARGET_TIME: Final = "timeouts stand in `rotation.verification.timeout` and `rotation.attempt_window`"

_TOP: Final = {
    "rotation_groups": _GROUPS,
    "notifications": _NOTIFY,
    "envs": "variables are handed to programs by `keyturn exec SERVICE --map NAME=password -- COMMAND`",
    "policies": "policy stands in the `rotation` of each service",
    "rotation": "policy stands in the `rotation` of each service",
    "templates": "a template stands in `publish` of a service",
    "transforms": "a template stands in `publish` of a service",
    "providers": "stores stand in `secretStores`",
    "network": "addresses are not restricted yet",
}
_ROTATION: Final = {
    "monitoring": "looking after promotion stands in `health_checks`",
    "deployment": _WAVES,
    "stages": _WAVES,
    "notify_before": "nobody is told ahead of time; `overdue` tells when a rotation is due",
    "trigger": _SCHEDULE,
    "conditions": _SCHEDULE,
    "metrics": _METRICS,
    "hooks": _HOOKS,
    "script": _HOOKS,
    "approval": _APPROVAL,
    "approval_required": _APPROVAL,
    "approvers": _APPROVAL,
    "overlap_duration": "how long both versions are valid is `grace_period`",
    "transition": "how long both versions are valid is `grace_period`",
    "slots": "the two logins of alternating stand in `usernames`",
    "constraints": "how a password is made stands in `password`",
    "validation": "logging in with the new value is always done; see `verification`",
    "audit": "every rotation is written to the event log; `keyturn audit export` hands it out",
    "mode": "the strategy says it all",
}

REFUSED: Final[dict[type[msgspec.Struct], dict[str, str]]] = {
    schema.FileKeys: _TOP,
    schema.StoreKeys: {"timeout_ms": "a store has its own limits"},
    schema.ServiceKeys: {
        "timeout_ms": _TARGET_TIME,
        "notifications": _NOTIFY,
        "health_checks": "checks stand in `rotation.health_checks`",
        "metrics": _METRICS,
    },
    schema.Rotation: _ROTATION,
    schema.Verification: {
        "enabled": "verification is always on, for an unverified value is how a credential is lost",
        "query": "logging in is the verification; a type that can run a query has its own option for it",
        "retry": "how often it is tried is `attempts`",
    },
    schema.Rollback: {"notifications": _NOTIFY},
    schema.ServiceGroup: {"notifications": _NOTIFY},
    schema.GroupRotation: {"notifications": _NOTIFY},
    schema.ChannelKeys: {
        "type": "the key that the channel stands under is its kind",
        "enabled": "leave the channel out to have it told nothing",
    },
    schema.Metrics: {
        "enabled": _SERVE,
        "port": _SERVE,
        "path": _SERVE,
        "labels": "labels stand in `metrics.prometheus`",
    },
    rollout_keys.Canary: {
        "enabled": "`canary: false` is no canary",
        "discovery": _DISCOVERY,
        "require_approval": _APPROVED,
        "waves": "waves stand in `rollout.waves`, or here as `rollout_waves`",
    },
    rollout_keys.Rollout: {
        "discovery": _DISCOVERY,
        "manual_approval_required": _APPROVED,
        "persist_progress": _PROGRESS,
        "progress_file": _PROGRESS,
        "rollout_waves": "waves stand in `waves`",
    },
    rollout_keys.Step: {"require_approval": _APPROVED},
    Instance: {"role": "write it as a label, which a selector can look at: `labels: {role: …}`"},
    schema.Password: {"allow_weak": "say why in `allow_weak_reason`"},
}
"""Where a key is refused, the key, and the reason; the reason completes "not supported by this version: …"."""

_OTHER_STORE: Final = "this version has no such store"
STORE_TYPES: Final[dict[str, str]] = dict.fromkeys(
    (
        "hashicorp.vault",
        "vault",
        "openbao",
        "aws",
        "aws.secretsmanager",
        "aws.ssm",
        "aws.sts",
        "aws.sso",
        "google.secretmanager",
        "gcp",
        "gcp.secretmanager",
        "azure",
        "azure.keyvault",
        "azure.identity",
        "onepassword",
        "bitwarden",
        "doppler",
        "pass",
        "keychain",
        "infisical",
        "akeyless",
        "json",
        "kubernetes",
    ),
    _OTHER_STORE,
) | {"literal": "a secret never stands in the configuration; use env://NAME or file:///PATH", "mock": _OTHER_STORE}

_OTHER_TARGET: Final = "this version cannot rotate it"
TARGET_TYPES: Final[dict[str, str]] = dict.fromkeys(
    (
        "mysql",
        "mariadb",
        "mongodb",
        "rabbitmq",
        "http",
        "webhook",
        "script",
        "stripe",
        "github",
        "aws.iam",
        "gcp",
        "azure",
    ),
    _OTHER_TARGET,
)
