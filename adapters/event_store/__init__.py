"""The event log on SQLite, through the eventsourcing library."""
