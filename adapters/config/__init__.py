"""The configuration file: read strictly, checked whole, turned into adapters."""
