"""What every section of the settings is."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
