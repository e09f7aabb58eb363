"""The domain of keyturn: what a rotation is, what may happen to it, and in which order.

Rule: nothing here imports from adapters/ or projections/, a driver, or a clock.
"""
