"""Where journal and history are kept, and for how long."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from bot.settings.part import Part


class StorageSettings(Part):
    """Files in ``state_dir``, unless a PostgreSQL database is named; its URL holds a password."""

    url: SecretStr = SecretStr("")  # journal and history in this database, each in a schema of its own
    history_url: SecretStr = SecretStr("")  # the history in this one
    keep_observations_days: float | None = Field(default=None, ge=1.0, le=36_500.0)  # none: the look-back
    keep_heartbeats_days: float | None = Field(default=None, ge=1.0, le=36_500.0)  # of alvh db prune
    wait_s: float = Field(default=2.0, ge=0.0, le=60.0)  # at a block, for who watches the home chain

    @property
    def shared_history(self) -> str:
        """The database that the history is in; empty for a file."""
        return self.history_url.get_secret_value() or self.url.get_secret_value()

    @model_validator(mode="after")
    def _check_urls(self) -> Self:
        for field in ("url", "history_url"):
            if text := getattr(self, field).get_secret_value():
                _check_url(text, field)
        return self


def _check_url(text: str, field: str) -> None:
    """Raise ValueError, which shows nothing of the URL."""
    from sqlalchemy.engine import make_url  # here: most configurations name none
    from sqlalchemy.exc import ArgumentError

    wanted = (
        "must be postgresql://USER:PASSWORD@HOST/DATABASE; without it there is a SQLite file in state_dir"
    )
    try:
        backend = make_url(text).get_backend_name()
    except (ArgumentError, ValueError):
        raise ValueError(f"{field} cannot be read as a URL; it {wanted}") from None
    if backend != "postgresql":
        raise ValueError(f"{field} is of {backend[:20]!r}; it {wanted}")
