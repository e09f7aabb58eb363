"""Discoveries: who uses a credential."""
