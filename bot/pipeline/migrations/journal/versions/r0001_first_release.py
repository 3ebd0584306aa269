"""The schema of the first release: meta, leg_events, intent_events, steps. Journals of it are not stamped."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: no journal is older."""
