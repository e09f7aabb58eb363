"""Targets: one file an adapter. A target imports no other kind of adapter."""
