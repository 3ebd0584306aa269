"""alvh health: one line and an exit code, for a container's health check."""

from typing import Annotated

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_ERROR,
    EXIT_NOT_RUNNING,
    ConfigOption,
    JsonOption,
    ModeOption,
    out,
    settings_of,
)
from bot.output import write_json

PortOption = Annotated[
    int | None, typer.Option(min=1, max=65_535, help="In place of metrics.port of the configuration.")
]


def health(
    config: ConfigOption = DEFAULT_CONFIG,
    mode: ModeOption = "dry-run",
    port: PortOption = None,
    json_to: JsonOption = None,
) -> None:
    """Is the running bot well? Asks its /health, or its journal. Exit code 0: yes; 3: none is running."""
    from bot.app.health import NOT_RUNNING, asked_health

    found = asked_health(settings_of(config), mode=mode, port=port)
    if json_to is None:
        out.print(found["sentence"], markup=False, soft_wrap=True)
    write_json(found, json_to)
    if not found["healthy"]:
        raise typer.Exit(EXIT_NOT_RUNNING if found["state"] == NOT_RUNNING else EXIT_ERROR)
