"""The public names for people who write plugins, and the version; nothing else.

Rule 1: a plugin imports from here only, so that the inside of keyturn can move.
Rule 2: what stands in `__all__` is a promise, and goes away with a new major version only.
"""

from typing import Final

from engine.adapter import (
    CheckAdapter,
    CheckContext,
    Duration,
    NotifierAdapter,
    NotifierContext,
    Reference,
    StoreAdapter,
    StoreContext,
    TargetAdapter,
    TargetContext,
)
from engine.errors import (
    ExitCode,
    KeyturnError,
    OwnLoginRejected,
    Rejected,
    SinkGone,
    Throttled,
    Unavailable,
    Uncertain,
)
from engine.health import CheckResult, HealthCheck, Sample, Subject, Validatable
from engine.notices import Notice, NoticeKind, Urgency
from engine.notifier import Notifier, Outgoing, Pace
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import (
    Addressable,
    Checkable,
    Finding,
    Holdings,
    Probe,
    SecretStore,
    Severity,
    Sighting,
    StoreCapabilities,
    Target,
    TargetCapabilities,
    Verification,
)
from engine.values import (
    CURRENT,
    LABELS,
    PENDING,
    PREVIOUS,
    SECOND,
    CredentialValue,
    Form,
    Instant,
    Microseconds,
    Secret,
)

__version__: Final = "0.1.0"

__all__ = [
    "CURRENT",
    "LABELS",
    "PENDING",
    "PREVIOUS",
    "SECOND",
    "Addressable",
    "CheckAdapter",
    "CheckContext",
    "CheckResult",
    "Checkable",
    "CredentialValue",
    "Duration",
    "ExitCode",
    "Finding",
    "Form",
    "HealthCheck",
    "Holdings",
    "Instant",
    "KeyturnError",
    "LoginBudget",
    "Microseconds",
    "Notice",
    "NoticeKind",
    "Notifier",
    "NotifierAdapter",
    "NotifierContext",
    "Outgoing",
    "OwnLoginRejected",
    "Pace",
    "Probe",
    "Reference",
    "Rejected",
    "RetryClass",
    "Sample",
    "Secret",
    "SecretStore",
    "Severity",
    "Sighting",
    "SinkGone",
    "StoreAdapter",
    "StoreCapabilities",
    "StoreContext",
    "Strategy",
    "Subject",
    "Target",
    "TargetAdapter",
    "TargetCapabilities",
    "TargetContext",
    "Throttled",
    "Unavailable",
    "Uncertain",
    "Urgency",
    "Validatable",
    "Verification",
    "__version__",
]
