"""Revisions of the history, oldest first; alembic loads them by path."""
