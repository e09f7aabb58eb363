"""The daemon: what is due when, who works on it, and what it shows of itself."""
