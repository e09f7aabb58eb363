"""Folds over the log: what people see. A projection never decides."""
