"""The sinks that notices are sent to, one file a kind; shared parts stand beside them."""
