"""Distributors: how an instance is handed a version, and shows which one it uses."""
