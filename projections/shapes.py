"""The names and schema numbers of the views, as plain constants.

Rule: this file imports nothing, because `keyturn status` reads a view before anything else is loaded.

A schema number goes up with every change of what a view's rows mean; a view of an older schema is folded anew.
"""

STATUS = "status"
STATUS_SCHEMA = 5
STATUS_TABLE = "status_credentials"

NEVER_ROTATED = "never_rotated"
"""The state of a service that has no version and no rotation to decide about; the log may not know it at all."""

HISTORY = "history"
HISTORY_SCHEMA = 2

OUTBOX = "outbox"
OUTBOX_SCHEMA = 1
CHANNELS_TABLE = "notices_channels"
UNHEARD_TABLE = "notices_credentials"
UNHEARD_AFTER = 60_000_000
"""How long a critical notice may be on its way, in microseconds, before people are told that it reached nobody."""

HEALTH = "health"
HEALTH_SCHEMA = 1

METRICS = "metrics"
METRICS_SCHEMA = 1
