"""Simulations: the real engine against memory adapters under injected faults."""
