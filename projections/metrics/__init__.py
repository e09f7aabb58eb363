"""The log in numbers: what is counted and measured, exact over restarts, crashes and short commands."""
