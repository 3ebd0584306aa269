"""The only place that holds a key, and the rules it signs by.

The rules live beside the key so that no bug above can get a signature outside of them: allow-listed chain,
target and selector, bounded value, gas and fee, exact approvals to allow-listed spenders, one payload per
nonce. Decrypting a keystore takes about a second of CPU: call :meth:`KeystoreSigner.open` in a thread.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import is_checksum_address, to_checksum_address

from bot.chain.fees import GWEI, Fees
from bot.chain.policy_signature import Grant
from bot.errors import ConfigError, InvariantError, VenueRejected

MIN_SCRYPT_N = 2**18  # what eth-account writes by default; weaker files are only for tests
MIN_PBKDF2_ROUNDS = 2**18
_SCHEMES = (("scrypt", None), ("pbkdf2", "hmac-sha256"))  # key derivation, pseudo-random function
_MAX_KEYSTORE_BYTES = 64_000
_APPROVE = bytes.fromhex("095ea7b3")  # approve(address,uint256)
_UNLIMITED = 2**127  # nothing that is bought here is worth more; larger approvals are standing ones
_CANCEL_GAS_MAX = 1_000_000  # a transfer is 21,000; Arbitrum counts its L1 share as gas too

# Chains on which coins cost money. Signing for them needs the sentence of `real_money_sentence`.
MAINNETS: Mapping[int, str] = {
    1: "Ethereum",
    10: "Optimism",
    25: "Cronos",
    30: "Rootstock",
    56: "BNB Chain",
    100: "Gnosis",
    130: "Unichain",
    137: "Polygon",
    146: "Sonic",
    169: "Manta Pacific",
    250: "Fantom",
    252: "Fraxtal",
    288: "Boba",
    324: "zkSync Era",
    480: "World Chain",
    957: "Derive",
    999: "HyperEVM",
    1088: "Metis",
    1101: "Polygon zkEVM",
    1135: "Lisk",
    1284: "Moonbeam",
    1329: "Sei",
    1868: "Soneium",
    2222: "Kava",
    2741: "Abstract",
    5000: "Mantle",
    8217: "Kaia",
    8453: "Base",
    34443: "Mode",
    42161: "Arbitrum One",
    42170: "Arbitrum Nova",
    42220: "Celo",
    43114: "Avalanche",
    57073: "Ink",
    59144: "Linea",
    80094: "Berachain",
    81457: "Blast",
    167000: "Taiko",
    534352: "Scroll",
    7777777: "Zora",
}


def real_money_sentence(chain_id: int) -> str:
    """Return the words a person must write to let the bot sign for a chain with real money."""
    return f"sign with real money on chain {chain_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRules:
    """What may be signed. ``calls`` are (contract address, 4-byte selector) pairs.

    An ERC-20 ``approve`` needs its own (token, 0x095ea7b3) pair, and its spender must be a target of
    ``calls``. Chains in MAINNETS need their sentence in ``real_money``. Raises ConfigError.
    """

    chain_ids: frozenset[int]
    calls: frozenset[tuple[str, bytes]]
    gas_ceiling: int = 10_000_000
    max_fee_wei: int = 600 * GWEI  # per unit of gas, cancels included
    max_value_wei: int = 0
    real_money: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for chain_id in sorted(self.chain_ids & MAINNETS.keys()):
            if real_money_sentence(chain_id) not in self.real_money:
                raise ConfigError(
                    f"chain {chain_id} ({MAINNETS[chain_id]}) holds real money and is refused unless the "
                    f"settings say {real_money_sentence(chain_id)!r}"
                )
        for target, selector in self.calls:
            if not _is_address(target) or not isinstance(selector, bytes) or len(selector) != 4:
                raise ConfigError(
                    f"a signing rule must be an address and 4 bytes, was {target!r:.60}, {selector!r:.20}"
                )
        normal = frozenset((target.lower(), selector) for target, selector in self.calls)
        object.__setattr__(self, "calls", normal)

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(target for target, _ in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """An EIP-1559 transaction to sign. ``to`` equal to the signer with no data and value is a cancel."""

    chain_id: int
    nonce: int
    to: str
    data: bytes
    value_wei: int
    gas: int
    fees: Fees
    valid_until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    raw: str  # 0x hex
    tx_hash: str


class Signer(Protocol):
    @property
    def address(self) -> str: ...

    def sign(self, unsigned: Unsigned, *, now_s: float) -> Signed:
        """Sign or refuse. ``now_s`` is chain time.

        Raises VenueRejected when a bound that moves with the market refuses (time, gas, fee), and
        InvariantError when the request should never have been made.
        """
        ...


class KeystoreSigner:
    """Signs with the key of an encrypted keystore file, within SigningRules."""

    __slots__ = ("_account", "_payloads", "_rules", "address")

    def __init__(self, account: LocalAccount, rules: SigningRules) -> None:
        self.address: str = account.address
        self._account = account
        self._rules = rules
        self._payloads: dict[tuple[int, int], tuple[str, bytes, int]] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        password: str,
        *,
        address: str,
        rules: SigningRules,
        min_scrypt_n: int = MIN_SCRYPT_N,
    ) -> "KeystoreSigner":
        """Decrypt a keystore v3 file. Blocks for about a second.

        Raises ConfigError: missing, readable by others, not a keystore, weakly encrypted, of another
        address, or a password that does not open it (the same words for a damaged file).
        """
        account = _unlock(path, password, address=address, min_scrypt_n=min_scrypt_n)
        return cls(account, rules)

    def __repr__(self) -> str:
        return f"KeystoreSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is never copied or pickled: it holds a key")

    def sign(self, unsigned: Unsigned, *, now_s: float) -> Signed:
        self._check(unsigned, now_s)
        slot = (unsigned.chain_id, unsigned.nonce)
        payload = (unsigned.to.lower(), unsigned.data, unsigned.value_wei)
        if not self._is_cancel(unsigned):
            if self._payloads.get(slot, payload) != payload:
                raise InvariantError(
                    f"nonce {unsigned.nonce} on chain {unsigned.chain_id} was signed for another payload; "
                    "only a fee replacement or a cancel may follow"
                )
            self._payloads[slot] = payload
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": unsigned.chain_id,
                "nonce": unsigned.nonce,
                "to": to_checksum_address(unsigned.to),
                "data": unsigned.data,
                "value": unsigned.value_wei,
                "gas": unsigned.gas,
                "maxFeePerGas": unsigned.fees.max_fee_wei,
                "maxPriorityFeePerGas": unsigned.fees.tip_wei,
            }
        )
        return Signed(raw="0x" + bytes(signed.raw_transaction).hex(), tx_hash="0x" + bytes(signed.hash).hex())

    def _is_cancel(self, unsigned: Unsigned) -> bool:
        to_self = unsigned.to.lower() == self.address.lower()
        return to_self and not unsigned.data and unsigned.value_wei == 0

    def _check(self, unsigned: Unsigned, now_s: float) -> None:
        rules = self._rules
        if unsigned.chain_id not in rules.chain_ids:
            raise InvariantError(
                f"chain {unsigned.chain_id} is not allowed for signing; allowed: {sorted(rules.chain_ids)}"
            )
        if unsigned.nonce < 0 or unsigned.gas <= 0:
            raise InvariantError(f"nonce {unsigned.nonce} or gas {unsigned.gas} is out of range")
        if unsigned.fees.max_fee_wei > rules.max_fee_wei:
            raise VenueRejected(
                f"fee of {unsigned.fees.max_fee_wei} wei per gas is "
                f"over the signer's limit of {rules.max_fee_wei}"
            )
        if self._is_cancel(unsigned):
            if unsigned.gas > _CANCEL_GAS_MAX:
                raise VenueRejected(
                    f"a cancel asks for {unsigned.gas} gas, at most {_CANCEL_GAS_MAX} is allowed"
                )
            return
        self._check_call(unsigned)
        if unsigned.gas > rules.gas_ceiling:
            raise VenueRejected(f"{unsigned.gas} gas is over the signer's ceiling {rules.gas_ceiling}")
        if not unsigned.valid_until_s > now_s:  # also refuses NaN
            raise VenueRejected(
                f"valid until {unsigned.valid_until_s:.0f}, but the chain is at {now_s:.0f}: "
                "ask for a new quote"
            )

    def _check_call(self, unsigned: Unsigned) -> None:
        rules, target, selector = self._rules, unsigned.to.lower(), unsigned.data[:4]
        if (target, selector) not in rules.calls:
            raise InvariantError(
                f"call 0x{selector.hex()} of {unsigned.to} is not on the signer's allow-list"
            )
        if not 0 <= unsigned.value_wei <= rules.max_value_wei:
            raise InvariantError(
                f"value of {unsigned.value_wei} wei is outside the signer's limit 0..{rules.max_value_wei}"
            )
        if selector == _APPROVE:
            _check_approval(unsigned, rules)


def sign_policy(
    path: Path, password: str, *, address: str, grant: Grant, min_scrypt_n: int = MIN_SCRYPT_N
) -> bytes:
    """Sign a policy's grant (R22) with an owner's keystore and forget the key; nothing else is signed so.

    Blocks for about a second. Raises ConfigError as :meth:`KeystoreSigner.open`.
    """
    account = _unlock(path, password, address=address, min_scrypt_n=min_scrypt_n)
    return bytes(account.sign_message(grant.signable).signature)


def _unlock(path: Path, password: str, *, address: str, min_scrypt_n: int) -> LocalAccount:
    fields = _read_keystore(Path(path), min_scrypt_n=min_scrypt_n)
    try:
        key = bytes(Account.decrypt(fields, password))
    except (ValueError, TypeError, KeyError):
        key = b""
    if len(key) != 32:
        raise ConfigError(f"keystore {path} cannot be opened with this password")
    account: LocalAccount = Account.from_key(key)
    if account.address.lower() != address.lower():
        raise ConfigError(
            f"keystore {path} holds the key of {account.address}, the configured account is {address}"
        )
    return account


def _check_approval(unsigned: Unsigned, rules: SigningRules) -> None:
    spender = "0x" + unsigned.data[16:36].hex()
    amount = int.from_bytes(unsigned.data[36:68], "big")
    if len(unsigned.data) != 68 or any(unsigned.data[4:16]):
        raise InvariantError("an approval must be exactly an address and an amount")
    if spender not in rules.targets:
        raise InvariantError(f"spender {spender} is not on the signer's allow-list")
    if amount >= _UNLIMITED:
        raise InvariantError("an unlimited approval is never signed; approve the exact amount")


def write_keystore(path: Path, key: bytes, password: str, *, scrypt_n: int = MIN_SCRYPT_N) -> str:
    """Encrypt a private key into a new keystore file of mode 0600 and return its address.

    Raises ConfigError when the file exists or cannot be written. Blocks for about a second.
    """
    fields = Account.encrypt(key, password, kdf="scrypt", iterations=scrypt_n)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"keystore {path} cannot be created: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(fields, file)
    return str(Account.from_key(key).address)


def _read_keystore(path: Path, *, min_scrypt_n: int) -> dict[str, Any]:
    text = _read_private(path)
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if (
        not isinstance(fields, dict)
        or fields.get("version") != 3
        or not isinstance(fields.get("crypto"), dict)
    ):
        raise ConfigError(
            f"keystore {path} is not an encrypted keystore of version 3; plain keys are never read"
        )
    _check_strength(path, fields["crypto"], min_scrypt_n=min_scrypt_n)
    return fields


def _check_strength(path: Path, crypto: dict[str, Any], *, min_scrypt_n: int) -> None:
    parameters = crypto.get("kdfparams")
    parameters = parameters if isinstance(parameters, dict) else {}
    scheme = (crypto.get("kdf"), parameters.get("prf") if crypto.get("kdf") == "pbkdf2" else None)
    if scheme not in _SCHEMES:  # before the library sees it: it meets some of these with an assertion
        raise ConfigError(
            f"keystore {path} derives its key by {scheme[0]!r:.20} with {scheme[1]!r:.20}, allowed: scrypt "
            "and pbkdf2 with hmac-sha256: write it again with the defaults of eth-account"
        )
    if crypto.get("kdf") == "scrypt":
        found, least = parameters.get("n"), min_scrypt_n
    else:
        found, least = parameters.get("c"), MIN_PBKDF2_ROUNDS
    if not isinstance(found, int) or not least <= found <= 2**26:
        raise ConfigError(
            f"keystore {path} is encrypted with work factor {found!r:.20}, at least {least} is needed: "
            "write it again with the defaults of eth-account"
        )


def _read_private(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"keystore {path} cannot be opened: {error.strerror}") from None
    try:
        _check_private(path, os.fstat(handle))
        return os.read(handle, _MAX_KEYSTORE_BYTES).decode("utf-8", "replace")
    finally:
        os.close(handle)


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"keystore {path} is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(f"keystore {path} has mode {mode:04o}, others could read it: run chmod 600")
    if status.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"keystore {path} belongs to another user")
    if status.st_size > _MAX_KEYSTORE_BYTES:
        raise ConfigError(f"keystore {path} is {status.st_size} bytes, too large for a keystore")


def _is_address(text: object) -> bool:
    if not isinstance(text, str) or len(text) != 42 or not text.startswith("0x"):
        return False
    try:
        bytes.fromhex(text[2:])
    except ValueError:
        return False
    return text == text.lower() or is_checksum_address(text)
