"""alvh alerts: who is told, and whether that works."""

import asyncio

import typer

from bot.cli.shared import DEFAULT_CONFIG, EXIT_ERROR, ConfigOption, JsonOption, err, out, settings_of
from bot.output import write_json

alerts_cli = typer.Typer(help="Who is told of what happens.", no_args_is_help=True)


@alerts_cli.command("test")
def alerts_test(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """Send one message to every target of alerts.urls and say which took it."""
    from bot.app.alert_parts import send_test

    settings = settings_of(config)
    with err.status("sending to each target"):
        deliveries = asyncio.run(send_test(settings.alerts))
    if json_to is None:
        from rich.table import Table

        table = Table("target", "result", box=None)
        for item in deliveries:
            table.add_row(item.target, "ok" if item.ok else f"failed: {item.why}")
        out.print(table)
    write_json([{"target": item.target, "ok": item.ok, "why": item.why} for item in deliveries], json_to)
    if not all(item.ok for item in deliveries):
        raise typer.Exit(EXIT_ERROR)
