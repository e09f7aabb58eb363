"""A deterministic world that the real engine is run in: ports that fail as planned, virtual time, invariants."""
