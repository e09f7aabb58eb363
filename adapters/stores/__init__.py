"""Stores: one file an adapter. A store imports no other kind of adapter."""
