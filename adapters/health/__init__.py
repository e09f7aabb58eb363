"""Health checks: one file a family of systems, and what they share beside."""
