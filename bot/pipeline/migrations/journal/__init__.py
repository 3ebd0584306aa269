"""Revisions of the journal, oldest first; alembic loads them by path."""
