"""Owners' signatures over a policy (R22): EIP-712 typed data, checked by key or by EIP-1271.

A grant says which policy (by its hash) may trade for which account, on which chains, from which sequence
number on and until when. It names several chains, so its domain names none. An owner is a key, or a contract
(such as a Safe) that says itself what it has signed, read at one block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from eth_abi.abi import encode
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from bot.chain.address import checksummed
from bot.errors import ConfigError
from bot.model.market import Block
from bot.model.units import iso_utc
from bot.ports import Call, ChainReader

if TYPE_CHECKING:
    from bot.chain.accounts import SignableMessage

DOMAIN: Mapping[str, str] = {"name": "ALVH policy", "version": "1"}
_TYPES: Mapping[str, Sequence[Mapping[str, str]]] = {
    "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"}],
    "Policy": [
        {"name": "policyHash", "type": "bytes32"},
        {"name": "chainIds", "type": "uint256[]"},
        {"name": "account", "type": "address"},
        {"name": "sequence", "type": "uint64"},
        {"name": "validUntil", "type": "uint64"},
    ],
}
_YEAR_10000_S = 253_402_300_800
MOST_SIGNATURE_BYTES = 24_576  # a Safe of many owners needs 65 each
_EOA_BYTES = 65
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1 (EIP-2)
_IS_VALID = keccak(text="isValidSignature(bytes32,bytes)")[:4]  # EIP-1271; also its answer for yes


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What owners sign. ``policy_hash`` is 64 hex digits, the hash that every decision carries."""

    policy_hash: str
    chain_ids: tuple[int, ...]  # rising, each once
    account: str  # checksummed
    sequence: int
    valid_until_s: int

    def __post_init__(self) -> None:
        if len(self.policy_hash) != 64 or set(self.policy_hash) - set("0123456789abcdef"):
            raise ConfigError(f"a policy hash must be 64 hex digits, was {self.policy_hash!r:.80}")
        rising = sorted(set(self.chain_ids))
        if not rising or list(self.chain_ids) != rising or rising[0] < 1 or rising[-1] >= 2**256:
            raise ConfigError(
                f"chain ids must be positive, rising, each once and of 256 bits, were {list(self.chain_ids)}"
            )
        if not 0 <= self.sequence < 2**64:
            raise ConfigError(f"sequence must be from 0 to 2^64 - 1, was {self.sequence}")
        if not 0 <= self.valid_until_s < _YEAR_10000_S:
            raise ConfigError(f"valid_until must be from 1970 to 9999, was {self.valid_until_s} s")
        try:
            object.__setattr__(self, "account", checksummed(self.account))
        except ValueError as error:
            raise ConfigError(f"account {self.account!r:.60} {error}") from None

    @property
    def typed_data(self) -> dict[str, Any]:
        """Return the document of eth_signTypedData_v4, which any wallet can sign."""
        return {
            "types": {name: [dict(item) for item in items] for name, items in _TYPES.items()},
            "primaryType": "Policy",
            "domain": dict(DOMAIN),
            "message": {
                "policyHash": "0x" + self.policy_hash,
                "chainIds": list(self.chain_ids),
                "account": self.account,
                "sequence": self.sequence,
                "validUntil": self.valid_until_s,
            },
        }

    @property
    def signable(self) -> "SignableMessage":
        from bot.chain.accounts import encode_typed_data

        return encode_typed_data(full_message=self.typed_data)

    @property
    def digest(self) -> bytes:
        """Return the 32 bytes that an owner signs."""
        signable = self.signable
        return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


class Verdict(StrEnum):
    """What became of one owner."""

    SIGNED = "signed"
    MISSING = "missing"  # no signature of this owner is there
    WRONG = "wrong"  # there is one, and it is not good for this grant
    UNREADABLE = "unreadable"  # only the chain can tell, and no chain was given


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerVerdict:
    owner: str
    verdict: Verdict
    by_contract: bool = False  # the owner's code said so (EIP-1271)
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Which owners have signed a grant, and whether that is enough."""

    owners: tuple[OwnerVerdict, ...]
    strangers: tuple[str, ...]  # who signed and is no owner
    threshold: int

    @property
    def signed(self) -> int:
        return sum(item.verdict is Verdict.SIGNED for item in self.owners)

    @property
    def reached(self) -> bool:
        return self.signed >= self.threshold > 0


def signed_by_key(grant: Grant, signature: bytes) -> str:
    """Return the address whose key made a 65-byte signature of a grant, or "" where none did.

    The high half of s is refused, so that a signature has one form (EIP-2).
    """
    if len(signature) != _EOA_BYTES or signature[64] not in (27, 28):
        return ""
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        return ""
    from bot.chain.accounts import Account

    try:
        return str(Account.recover_message(grant.signable, signature=signature))
    except (BadSignature, ValidationError, ValueError):  # numbers that are no point of the curve
        return ""


async def check_quorum(
    grant: Grant,
    signatures: Mapping[str, bytes],
    *,
    owners: Sequence[str],
    threshold: int,
    chain: ChainReader | None = None,
    block: Block | None = None,
) -> Quorum:
    """Return who of ``owners`` has signed. ``signatures`` are by owner, checksummed.

    A contract owner is asked on ``chain`` at ``block``; without them its signature cannot be told. Raises
    ConfigError for owners or a threshold that make no quorum, TransientError when the chain cannot be read.
    """
    if not owners or len(set(owners)) != len(owners):
        raise ConfigError(f"owners must be named, each once, were {', '.join(owners) or 'none'}")
    if not 1 <= threshold <= len(owners):
        raise ConfigError(f"threshold must be from 1 to the {len(owners)} owners, was {threshold}")
    found = [await _check(grant, owner, signatures.get(owner), chain, block) for owner in owners]
    strangers = tuple(sorted(set(signatures) - set(owners)))
    return Quorum(owners=tuple(found), strangers=strangers, threshold=threshold)


async def _check(
    grant: Grant, owner: str, signature: bytes | None, chain: ChainReader | None, block: Block | None
) -> OwnerVerdict:
    if signature is None:
        return OwnerVerdict(owner=owner, verdict=Verdict.MISSING)
    signer = signed_by_key(grant, signature)
    if signer == owner:
        return OwnerVerdict(owner=owner, verdict=Verdict.SIGNED)
    if chain is None or block is None:
        why = f"made by the key of {signer}" if signer else "not made by a key"
        return OwnerVerdict(
            owner=owner,
            verdict=Verdict.UNREADABLE,
            why=f"{why}; if the owner is a contract, only its chain can tell: give --config",
        )
    if not await chain.has_code(owner, block=block):
        why = f"made by the key of {signer}, or for other terms" if signer else "not a signature of 65 bytes"
        return OwnerVerdict(owner=owner, verdict=Verdict.WRONG, why=why)
    if await _contract_agrees(grant, owner, signature, chain, block):
        return OwnerVerdict(owner=owner, verdict=Verdict.SIGNED, by_contract=True)
    why = f"the contract does not accept it at block {block.number} (EIP-1271)"
    return OwnerVerdict(owner=owner, verdict=Verdict.WRONG, by_contract=True, why=why)


async def _contract_agrees(
    grant: Grant, owner: str, signature: bytes, chain: ChainReader, block: Block
) -> bool:
    data = _IS_VALID + encode(["bytes32", "bytes"], [grant.digest, signature])
    (answer,) = await chain.read([Call(owner, data, ("bytes4",))], block=block)
    return answer is not None and answer[0] == _IS_VALID


def refusals(grant: Grant, *, policy_hash: str, now_s: float, least_sequence: int) -> tuple[str, ...]:
    """Return why a grant is not good for a policy at a time, whoever signed it; none when it is."""
    found = []
    if grant.policy_hash != policy_hash:
        found.append(
            f"the policy's hash is {policy_hash[:12]}…, signed was {grant.policy_hash[:12]}…: "
            "the policy was changed after it was signed"
        )
    if not now_s <= grant.valid_until_s:  # also refuses NaN
        found.append(f"expired at {iso_utc(grant.valid_until_s)}")
    if grant.sequence < least_sequence:
        found.append(
            f"sequence number {grant.sequence} is lower than {least_sequence}, which was in force before"
        )
    return tuple(found)
