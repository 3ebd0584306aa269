"""The first release: one table, ``observations``, in which a row older than one before it had replaced it."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: no history is older."""
