"""Owners' signatures of a policy as files: made with ``sign``, checked with ``verify`` (R22).

Signatures lie beside the policy in ``<policy>.signatures.json``. The highest sequence number that ``verify
--record`` accepted lies in ``state_dir/policy-sequence.json``, by account; a lower one is refused after it.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.app.nodes import connect
from bot.chain.address import checksummed
from bot.chain.policy_signature import (
    MOST_SIGNATURE_BYTES,
    Grant,
    Quorum,
    check_quorum,
    refusals,
    signed_by_key,
)
from bot.chain.reader import JsonRpcReader
from bot.chain.signing.keystore import MIN_SCRYPT_N, sign_policy
from bot.errors import ConfigError, NotFoundError
from bot.model.market import Block
from bot.model.parsing import json_of
from bot.model.units import iso_utc, parse_utc_s
from bot.settings import PolicySource, Settings

_FORMAT = 1
_MOST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """A signature file: what is granted, and the signatures by owner."""

    policy: str
    grant: Grant
    by_owner: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a policy may decide, and who says so."""

    grant: Grant
    quorum: Quorum
    refusals: tuple[str, ...]
    block: Block | None  # at which contract owners were asked

    @property
    def is_valid(self) -> bool:
        return self.quorum.reached and not self.refusals


def signatures_path(source: PolicySource) -> Path:
    """Return where the signatures of a policy lie: beside its file, or here for a preset."""
    path = Path(f"{source.name}.toml") if source.path is None else source.path
    return path.with_name(f"{path.stem}.signatures.json")


def read_signatures(path: Path) -> Signatures:
    """Return a signature file. Raises NotFoundError when there is none, ConfigError when it is damaged."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise NotFoundError(f"no signatures at {path}; make them with: alvh policy sign") from None
    except OSError as error:
        raise ConfigError(f"signature file {path} cannot be read: {error.strerror}") from None
    try:
        return _signatures(json_of(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"signature file {path} is damaged: {what}") from None
    except ConfigError as error:
        raise ConfigError(f"signature file {path}: {error}") from None


def with_signature(path: Path, policy: str, grant: Grant, owner: str, signature: bytes) -> Signatures:
    """Add a signature to a file, which is made anew for a new grant.

    Raises ConfigError where the file holds another grant of the same or a higher sequence number: that one
    may be in force, and an owner must see that it is replaced.
    """
    try:
        there = read_signatures(path)
    except NotFoundError:
        there = Signatures(policy=policy, grant=grant, by_owner={})
    if there.grant != grant:
        if there.grant.sequence >= grant.sequence:
            raise ConfigError(
                f"{path} holds other terms under sequence number {there.grant.sequence}; sign with "
                f"--sequence {there.grant.sequence + 1} or higher, or name another file with --signatures"
            )
        there = Signatures(policy=policy, grant=grant, by_owner={})
    found = replace(there, by_owner={**there.by_owner, owner: signature})
    _write(path, signatures_document(found))
    return found


def signatures_document(found: Signatures) -> dict[str, Any]:
    """Return a signature file as JSON has it."""
    grant = found.grant
    return {
        "format": _FORMAT,
        "policy": found.policy,
        **grant_document(grant),
        "signatures": [
            {"owner": owner, "signature": "0x" + signature.hex()}
            for owner, signature in sorted(found.by_owner.items())
        ],
    }


def grant_document(grant: Grant) -> dict[str, Any]:
    return {
        "policy_hash": grant.policy_hash,
        "chain_ids": list(grant.chain_ids),
        "account": grant.account,
        "sequence": grant.sequence,
        "valid_until": iso_utc(grant.valid_until_s),
        "digest": "0x" + grant.digest.hex(),
    }


def key_signature(grant: Grant, *, owner: str, keystore: Path, password: str) -> bytes:
    """Sign with an owner's keystore. Blocks for about a second. Raises ConfigError."""
    return sign_policy(keystore, password, address=owner, grant=grant, min_scrypt_n=MIN_SCRYPT_N)


def given_signature(grant: Grant, owner: str, text: str) -> bytes:
    """Return a signature that was made elsewhere: by a wallet, or for a contract owner.

    Raises ConfigError for what is no hex, or the signature of another key.
    """
    signature = _bytes(text, "--signature")
    signer = signed_by_key(grant, signature)
    if len(signature) == 65 and signer and signer != owner:
        raise ConfigError(
            f"--signature was made by the key of {signer}, or for other terms than these; the owner named is "
            f"{owner}: for a contract owner give the bytes that its isValidSignature takes"
        )
    return signature


async def verify(
    found: Signatures,
    *,
    policy_hash: str,
    owners: Sequence[str],
    threshold: int,
    now_s: float,
    least_sequence: int,
    settings: Settings | None,
) -> Verification:
    """Check signatures against a policy, at the newest block of the home chain where one is configured.

    Only contract owners need the chain. Raises TransientError when it is needed and cannot be read.
    """
    reasons = list(refusals(found.grant, policy_hash=policy_hash, now_s=now_s, least_sequence=least_sequence))
    if settings is not None:
        reasons += _mismatches(found.grant, settings)
    needs_chain = any(
        signed_by_key(found.grant, signature) != owner
        for owner, signature in found.by_owner.items()
        if owner in owners
    )
    async with AsyncExitStack() as stack:
        reader = await _reader(settings, stack) if settings is not None and needs_chain else None
        block = await reader.head() if reader is not None else None
        quorum = await check_quorum(
            found.grant, found.by_owner, owners=owners, threshold=threshold, chain=reader, block=block
        )
    return Verification(grant=found.grant, quorum=quorum, refusals=tuple(reasons), block=block)


def recorded_sequence(state_dir: Path, account: str) -> int:
    """Return the highest sequence number recorded for an account, 0 for none. Raises ConfigError."""
    path = _sequence_path(state_dir)
    try:
        found = json_of(path.read_text("utf-8"))
        return int(found.get(account, 0))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        raise ConfigError(
            f"{path} is damaged: it holds the sequence numbers that are in force; restore it, or write it "
            "again with alvh policy verify --record"
        ) from None


def record_sequence(state_dir: Path, grant: Grant) -> None:
    """Keep a grant's sequence number, so that a lower one is refused from now on. Raises ConfigError."""
    path = _sequence_path(state_dir)
    if grant.sequence > recorded_sequence(state_dir, grant.account):
        known = json_of(path.read_text("utf-8")) if path.exists() else {}
        _write(path, {**known, grant.account: grant.sequence})


def _mismatches(grant: Grant, settings: Settings) -> list[str]:
    found = []
    if settings.account is not None and settings.account.address != grant.account:
        found.append(f"signed for account {grant.account}, configured is {settings.account.address}")
    here = [chain.id for chain in settings.all_chains if chain.id not in grant.chain_ids]
    if here:
        named = ", ".join(map(str, here))
        found.append(f"chain {named} is configured and not among those signed for, {list(grant.chain_ids)}")
    return found


async def _reader(settings: Settings, stack: AsyncExitStack) -> JsonRpcReader:
    node = connect(settings.chain)
    stack.push_async_callback(node.close)
    return await JsonRpcReader.connect(node, chain_id=settings.chain.id, multicall3=settings.chain.multicall3)


def _signatures(document: Any) -> Signatures:
    if document["format"] != _FORMAT:
        raise ValueError(f"format must be {_FORMAT}, was {document['format']!r:.20}")
    grant = Grant(
        policy_hash=str(document["policy_hash"]),
        chain_ids=tuple(int(item) for item in document["chain_ids"]),
        account=str(document["account"]),
        sequence=int(document["sequence"]),
        valid_until_s=parse_utc_s(str(document["valid_until"]), field="valid_until"),
    )
    if document["digest"] != "0x" + grant.digest.hex():
        raise ValueError("its digest is not that of its terms")
    by_owner: dict[str, bytes] = {}
    for item in document["signatures"]:
        owner = checksummed(str(item["owner"]))
        if owner in by_owner:
            raise ValueError(f"owner {owner} stands there twice")
        by_owner[owner] = _bytes(str(item["signature"]), f"signature of {owner}")
    return Signatures(policy=str(document["policy"]), grant=grant, by_owner=by_owner)


def _bytes(text: str, what: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if not 0 < len(found) <= MOST_SIGNATURE_BYTES:
        raise ConfigError(f"{what} must be 1 to {MOST_SIGNATURE_BYTES} bytes in hex, was {text!r:.40}")
    return found


def _sequence_path(state_dir: Path) -> Path:
    return state_dir / "policy-sequence.json"


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
