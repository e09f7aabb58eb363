"""Sending what the outbox holds: channels, the last look for secrets, couriers, and the threads they run in."""
