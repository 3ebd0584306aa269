"""The pages of help that list commands: what there is to do, in panels, one line each."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

from bot.cli.shared import EXIT_CONFIG, out

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

_WIDEST = 80  # columns; longer lines are harder to read
_NARROWEST = 50  # columns that names and texts need beside each other
_INDENT, _OPTION_INDENT = 18, 25  # columns where texts begin
_SENTENCE = re.compile(r"(?<=[.?])\s")
_OPTIONS: Mapping[str, str] = {
    "--version": "Print the version.",
    "--show-completion": "Print what completes commands at your shell's prompt.",
    "--install-completion": "Install that for your shell.",
}
_LAST = "alvh COMMAND --help says more of each. No position yet? alvh demo shows one in a crash."


class PanelPage(TyperGroup):
    """A group of commands whose help is one page."""

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the page: headings bold where a person reads it on a terminal that can."""
        with out.capture() as captured:
            for line, is_heading in _lines(self, ctx, min(out.width, _WIDEST)):
                out.print(line, style="bold" if is_heading else "", markup=False, soft_wrap=True)
        formatter.write(captured.get())

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Show the page where nothing is asked for."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(EXIT_CONFIG)
        return super().parse_args(ctx, args)


def first_sentence(text: str) -> str:
    """Return the first sentence without its full stop, as one line."""
    return _SENTENCE.split(" ".join(text.split()), maxsplit=1)[0].removesuffix(".")


def panels_of(group: TyperGroup) -> dict[str, list["Command"]]:
    """Return the commands that are shown by panel, both in the order they were registered in."""
    found: dict[str, list[Command]] = {}
    for command in group.commands.values():
        if not command.hidden:
            found.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append(command)
    return found


def _lines(group: TyperGroup, ctx: "Context", width: int) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it is a heading."""
    yield from _plain(f"Usage: {ctx.command_path} COMMAND [OPTIONS]", width)
    yield "", False
    yield from _plain(group.help or "", width)
    for panel, commands in panels_of(group).items():
        yield "", False
        yield panel, True
        for command in commands:
            yield from _entry(command.name or "", first_sentence(command.help or ""), width, _INDENT)
    if ctx.parent is None:
        yield from _foot(width)


def _foot(width: int) -> Iterator[tuple[str, bool]]:
    yield "", False
    yield "Options", True
    for name, text in _OPTIONS.items():
        yield from _entry(name, first_sentence(text), width, _OPTION_INDENT)
    yield "", False
    yield from _plain(_LAST, width)


def _plain(text: str, width: int) -> Iterator[tuple[str, bool]]:
    for line in textwrap.wrap(text, width):
        yield line, False


def _entry(name: str, text: str, width: int, indent: int) -> Iterator[tuple[str, bool]]:
    """Yield a name with its text beside it, or under it where the width is short of that."""
    if width < _NARROWEST:
        yield f"  {name}", False
        head, indent = " " * 4, 4
    else:
        head = f"  {name} ".ljust(indent)
    for line in textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * indent):
        yield line, False
