"""alvh safe: what waits for a Safe's owners; sign, execute or reject it with an owner's keystore."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_ERROR,
    ConfigOption,
    JsonOption,
    PasswordOption,
    out,
    password_of,
    settings_of,
)
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.safe_owners import Owners, Shown

safe_cli = typer.Typer(help="Proposals to a Safe: list, sign, execute, reject.", no_args_is_help=True)

HashArgument = Annotated[
    str, typer.Argument(metavar="HASH", help="Safe transaction hash; see alvh safe list.")
]
OwnerOption = Annotated[str, typer.Option(help="Owner whose key it is.")]
KeystoreOption = Annotated[Path, typer.Option(help="The owner's keystore file.")]
_T = TypeVar("_T")


@safe_cli.command("list")
def safe_list(config: ConfigOption = DEFAULT_CONFIG, json_to: JsonOption = None) -> None:
    """Print every open proposal: its calls in words, what it can cost at most, who has signed."""
    from bot.terminal.safe import safe_document, safe_view

    found = _with_owners(config, lambda owners: owners.look())
    if json_to != "-":
        out.print(safe_view(found))
    write_json(safe_document(found), json_to)


@safe_cli.command("sign")
def safe_sign(
    tx_hash: HashArgument,
    owner: OwnerOption,
    keystore: KeystoreOption,
    config: ConfigOption = DEFAULT_CONFIG,
    password_file: PasswordOption = None,
    json_to: JsonOption = None,
) -> None:
    """Sign a proposal as an owner: only what the configured venues allow, or a rejection."""
    from bot.app.safe_owners import Owners

    _say(_act(Owners.sign, tx_hash, owner, keystore, password_file, config), "signed", json_to)


@safe_cli.command("reject")
def safe_reject(
    tx_hash: HashArgument,
    owner: OwnerOption,
    keystore: KeystoreOption,
    config: ConfigOption = DEFAULT_CONFIG,
    password_file: PasswordOption = None,
    json_to: JsonOption = None,
) -> None:
    """Propose a rejection at the same nonce, signed as an owner. The one of both that is executed counts."""
    from bot.app.safe_owners import Owners

    shown = _act(Owners.reject, tx_hash, owner, keystore, password_file, config)
    _say(shown, "rejection proposed", json_to)


@safe_cli.command("execute")
def safe_execute(
    tx_hash: HashArgument,
    owner: OwnerOption,
    keystore: KeystoreOption,
    config: ConfigOption = DEFAULT_CONFIG,
    password_file: PasswordOption = None,
    json_to: JsonOption = None,
) -> None:
    """Execute a proposal that has its signatures, which the bot also does; the owner pays the gas."""
    from bot.app.safe_owners import Owners, succeeded

    found = _act(Owners.execute, tx_hash, owner, keystore, password_file, config)
    done, where = succeeded(found), f"block {found.log.block_number}, transaction {found.log.tx_hash}"
    if json_to != "-":
        words = "executed" if done else "executed without effect"
        out.print(f"{words} in {where}", markup=False, soft_wrap=True)
    document = {
        "hash": found.tx_hash,
        "succeeded": done,
        "block": found.log.block_number,
        "transaction": found.log.tx_hash,
    }
    write_json(document, json_to)
    if not done:
        raise typer.Exit(EXIT_ERROR)


def _with_owners(config: Path, what: "Callable[[Owners], Awaitable[_T]]") -> _T:
    from bot.app.safe_owners import open_owners

    async def run() -> _T:
        async with open_owners(settings_of(config)) as owners:
            return await what(owners)

    return asyncio.run(run())


def _act(
    what: "Callable[..., Awaitable[_T]]",
    tx_hash: str,
    owner: str,
    keystore: Path,
    password_file: Path | None,
    config: Path,
) -> _T:
    """Do one of the things that an owner does to a proposal, with the key of that owner."""
    from bot.chain.safe import address
    from bot.settings import AccountSettings

    named = address(owner, "--owner")
    password = password_of(AccountSettings(address=named, keystore=keystore, password_file=password_file))
    return _with_owners(
        config, lambda owners: what(owners, tx_hash, owner=named, keystore=keystore, password=password)
    )


def _say(shown: "Shown", what: str, json_to: str | None) -> None:
    from bot.terminal.safe import shown_document

    if json_to != "-":
        count = len(shown.gathered.signatures)
        out.print(
            f"{what}: {shown.proposal.tx_hash}, now with {count} signatures", markup=False, soft_wrap=True
        )
    write_json(shown_document(shown), json_to)
