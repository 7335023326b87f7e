"""Algorithms over columns that lie at different parties, for the same rows.

Each is one module that reads from the top: who learns what, the messages in the order in which
they are said, one coroutine per role, and the `Algorithm` for the catalogue at its end.
"""
