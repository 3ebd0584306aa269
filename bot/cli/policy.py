"""alvh policy: what a policy says, whether it is right and affordable, and whose signatures it carries."""

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import (
    DEFAULT_CONFIG,
    EXIT_CONFIG,
    EXIT_ERROR,
    ConfigOption,
    JsonOption,
    PasswordOption,
    err,
    out,
    password_of,
    settings_of,
)
from bot.errors import ConfigError
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.policy_signing import Signatures, Verification
    from bot.chain.policy_signature import Grant
    from bot.settings import AccountSettings, PolicySource, Settings

policy_cli = typer.Typer(help="Policy files: check, show, compare, sign, verify.", no_args_is_help=True)

PolicyArgument = Annotated[str, typer.Argument(metavar="POLICY", help="Preset or policy file.")]
SignaturesOption = Annotated[
    Path | None, typer.Option("--signatures", help="Signature file; beside the policy by default.")
]
AccountOption = Annotated[
    str | None, typer.Option(help="Account it may trade for; the configured one by default.")
]
ChainsOption = Annotated[
    list[int] | None, typer.Option(help="Chain id, several times; the configured ones by default.")
]
SignerOption = Annotated[str | None, typer.Option(help="Owner who signs; the account by default.")]
KeystoreOption = Annotated[Path | None, typer.Option(help="The owner's keystore file.")]
SignatureOption = Annotated[
    str | None, typer.Option(help="Signature made elsewhere, hex: a wallet's, or a contract owner's.")
]
TypedDataOption = Annotated[
    bool, typer.Option("--typed-data", help="Print what to sign (eth_signTypedData_v4) and sign nothing.")
]
OwnersOption = Annotated[
    list[str] | None, typer.Option(help="Owner, several times; policy.owners by default.")
]
ThresholdOption = Annotated[
    int | None, typer.Option(min=1, help="Owners needed; policy.threshold by default.")
]
LeastSequenceOption = Annotated[
    int, typer.Option(min=0, help="Refuse a lower sequence number, beside the recorded one.")
]
RecordOption = Annotated[
    bool, typer.Option("--record", help="Keep the sequence number: lower ones are refused after it.")
]


@policy_cli.command("check")
def policy_check(
    policy: PolicyArgument,
    vol: Annotated[
        str | None, typer.Option(help="Implied vol to price at, such as 150%; the market model's by default.")
    ] = None,
    market: Annotated[Path | None, typer.Option(help="Market assumptions, not the packaged ones.")] = None,
    json_to: JsonOption = None,
) -> None:
    """Say all that is wrong with a policy, and which tiers a session cannot afford under stress."""
    from bot.app.policy import check, problems
    from bot.settings import read_source
    from bot.terminal.policy import check_document, check_view, problems_document

    stressed = _vol(vol)
    source = read_source(policy)
    wrong = problems(source)
    if wrong:
        for line in wrong:
            err.print(f"error: {line}", markup=False)
        write_json(problems_document(policy, wrong), json_to)
        raise typer.Exit(EXIT_CONFIG)
    found = asyncio.run(check(source, vol=stressed, market_file=market))
    if json_to != "-":
        out.print(check_view(found))
    write_json(check_document(found), json_to)


@policy_cli.command("show")
def policy_show(policy: PolicyArgument) -> None:
    """Print a policy with every number in it: unit, bounds and source of each. It is a policy file itself."""
    from bot.app.policy import show

    sys.stdout.write(show(policy))


@policy_cli.command("diff")
def policy_diff(
    first: Annotated[str, typer.Argument(metavar="A", help="Preset or policy file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Preset or policy file.")],
    json_to: JsonOption = None,
) -> None:
    """Print the keys in which two policies differ, in the units of the files."""
    from bot.app.policy import diff
    from bot.terminal.policy import diff_document, diff_view

    found = diff(first, second)
    if json_to != "-":
        out.print(diff_view(first, second, found))
    write_json(diff_document(found), json_to)


@policy_cli.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of a policy file, for editors."""
    from bot.app.policy import schema

    write_json(schema(), "-")


@policy_cli.command("sign")
def policy_sign(
    policy: PolicyArgument,
    sequence: Annotated[int, typer.Option(min=0, help="Higher than every one before.")],
    valid_until: Annotated[str, typer.Option(help="Last moment it is valid, ISO 8601, UTC.")],
    config: ConfigOption = DEFAULT_CONFIG,
    account: AccountOption = None,
    chain: ChainsOption = None,
    owner: SignerOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    signature: SignatureOption = None,
    typed_data: TypedDataOption = False,
    signatures: SignaturesOption = None,
    json_to: JsonOption = None,
) -> None:
    """Sign a policy as one of its owners (EIP-712) and add that to its signature file."""
    from bot.app.policy_signing import (
        given_signature,
        signatures_document,
        signatures_path,
        with_signature,
    )
    from bot.settings import read_source

    source, settings = read_source(policy), _settings(config, needed=not (account and chain))
    grant = _grant(source, settings, account, chain, sequence, valid_until)
    if typed_data:
        write_json(grant.typed_data, json_to or "-")
        return
    signer = _owner(owner, settings)
    if signature is not None:
        made = given_signature(grant, signer, signature)
    else:
        made = _key_signature(grant, _account(settings, signer, keystore, password_file))
    where = signatures or signatures_path(source)
    found = with_signature(where, source.name, grant, signer, made)
    if json_to != "-":
        _say_signed(signer, where, found)
    write_json(signatures_document(found), json_to)


@policy_cli.command("verify")
def policy_verify(
    policy: PolicyArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    owner: OwnersOption = None,
    threshold: ThresholdOption = None,
    least_sequence: LeastSequenceOption = 0,
    record: RecordOption = False,
    signatures: SignaturesOption = None,
    json_to: JsonOption = None,
) -> None:
    """Say whether enough owners have signed a policy, who is missing, and whether it is in force."""
    from bot.app.policy_signing import read_signatures, record_sequence, signatures_path
    from bot.engine.policy import parse_policy
    from bot.settings import read_source
    from bot.terminal.policy import verification_document, verification_view

    source = read_source(policy)
    digest = parse_policy(source.table).hash
    settings = _settings(config, needed=not owner or record)
    found = read_signatures(signatures or signatures_path(source))
    done = _verified(found, digest, settings, *_quorum(settings, owner, threshold), least_sequence)
    if record and done.is_valid and settings is not None:
        record_sequence(settings.state_dir, done.grant)
    if json_to != "-":
        out.print(verification_view(source.name, done))
    write_json(verification_document(source.name, done), json_to)
    if not done.is_valid:
        raise typer.Exit(EXIT_ERROR)


def _verified(
    found: "Signatures",
    policy_hash: str,
    settings: "Settings | None",
    owners: tuple[str, ...],
    threshold: int,
    least_sequence: int,
) -> "Verification":
    """Hold signatures against a policy, its owners and the sequence number that is on record."""
    from bot.app.policy_signing import recorded_sequence, verify

    known = recorded_sequence(settings.state_dir, found.grant.account) if settings else 0
    checking = verify(
        found,
        policy_hash=policy_hash,
        owners=owners,
        threshold=threshold,
        now_s=time.time(),
        least_sequence=max(known, least_sequence),
        settings=settings,
    )
    return asyncio.run(checking)


def _vol(text: str | None) -> float | None:
    if text is None:
        return None
    from bot.engine.policy_readers import quantity

    found = quantity(text)
    if found is None or found[1] != "%":
        raise ConfigError(f"--vol must be a percentage such as 150%, was {text!r}")
    return found[0]


def _settings(config: Path, *, needed: bool) -> "Settings | None":
    """Return the configuration; None where none is there and the options say everything."""
    if not needed and not config.exists():
        return None
    return settings_of(config)


def _address(text: str, option: str) -> str:
    from bot.chain.address import checksummed

    try:
        return checksummed(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r:.60} {error}") from None


def _grant(
    source: "PolicySource",
    settings: "Settings | None",
    account: str | None,
    chains: list[int] | None,
    sequence: int,
    valid_until: str,
) -> "Grant":
    from bot.chain.policy_signature import Grant
    from bot.engine.policy import parse_policy
    from bot.model.units import parse_utc_s

    if account is None and (settings is None or settings.account is None):
        raise ConfigError("which account may it trade for? give --account, or configure [account]")
    configured = settings.account.address if settings and settings.account else ""
    ids = chains or [item.id for item in settings.all_chains] if settings else chains or []
    until_s = parse_utc_s(valid_until, field="--valid-until")
    if until_s <= time.time():
        raise ConfigError(f"--valid-until {valid_until} has passed; name a moment to come")
    return Grant(
        policy_hash=parse_policy(source.table).hash,
        chain_ids=tuple(sorted(set(ids))),
        account=_address(account, "--account") if account else configured,
        sequence=sequence,
        valid_until_s=until_s,
    )


def _owner(owner: str | None, settings: "Settings | None") -> str:
    if owner is not None:
        return _address(owner, "--owner")
    if settings is None or settings.account is None:
        raise ConfigError("who signs? give --owner, or configure [account]")
    return settings.account.address


def _key_signature(grant: "Grant", owner: "AccountSettings") -> bytes:
    from bot.app.policy_signing import key_signature

    return key_signature(grant, owner=owner.address, keystore=owner.keystore, password=password_of(owner))


def _account(
    settings: "Settings | None", owner: str, keystore: Path | None, password_file: Path | None
) -> "AccountSettings":
    """Return the named keystore, else the configured one where it is the owner's."""
    from bot.settings import AccountSettings

    if keystore is not None:
        return AccountSettings(address=owner, keystore=keystore, password_file=password_file)
    configured = settings.account if settings else None
    if configured is None or configured.address != owner:
        raise ConfigError(f"the keystore of {owner} is not configured; give --keystore, or --signature")
    return configured


def _quorum(
    settings: "Settings | None", owners: list[str] | None, threshold: int | None
) -> tuple[tuple[str, ...], int]:
    configured = settings.policy if settings else None
    named = tuple(_address(item, "--owner") for item in owners or ()) or (
        configured.owners if configured else ()
    )
    if not named:
        raise ConfigError("who are the owners? give --owner, or configure policy.owners and policy.threshold")
    if threshold is None:
        threshold = configured.threshold if configured and not owners else len(named)
    return named, threshold


def _say_signed(owner: str, where: Path, found: "Signatures") -> None:
    many = len(found.by_owner)
    out.print(f"signed by {owner}", soft_wrap=True)
    out.print(f"{where}: {many} signature{'s' if many != 1 else ''}", soft_wrap=True, markup=False)
