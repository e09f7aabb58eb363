"""Measurements: what every number that the docs claim was measured with; nothing imports from here."""
