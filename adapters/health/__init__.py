"""Health checks, one file a family; shared parts stand beside them."""
