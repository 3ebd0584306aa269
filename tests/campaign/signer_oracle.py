"""What the signer of the fuzz may sign, written a second time: tables and eth-abi, none of its code.

A devnet with Lyra, Uniswap v3 and a Safe. A request is inside when every call of it is in the table,
its bytes are the one encoding of its arguments, and chain, gas, fees, value, times, nonce and caps hold; the
signature must be over exactly what was asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_abi import decode, encode
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_account.typed_transactions import TypedTransaction
from eth_keys import KeyAPI
from eth_utils import keccak

DAY_S = 86_400
CHAIN_ID = 31337
NOBODY = "0x" + "00" * 20
TRADE = "((uint256,uint256,uint256,uint8,uint256,uint256,uint256,uint256))"
SWAP = "((address,address,uint24,address,uint256,uint256,uint256,uint160))"
EXECUTE = "(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
MOST_GAS, MOST_CANCEL_GAS, MOST_FEE_WEI, MOST_AHEAD_S = 8_000_000, 1_000_000, 10**12, 7 * DAY_S
CANCELS_AHEAD = 16
TRANSACTION_USD, DAY_USD = 5_000, 400_000  # caps of both tokens

_SAFE_TYPES = {
    "EIP712Domain": [
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "SafeTx": [
        {"name": name, "type": kind}
        for name, kind in (
            ("to", "address"), ("value", "uint256"), ("data", "bytes"), ("operation", "uint8"),
            ("safeTxGas", "uint256"), ("baseGas", "uint256"), ("gasPrice", "uint256"),
            ("gasToken", "address"), ("refundReceiver", "address"), ("nonce", "uint256"),
        )
    ],
}  # fmt: skip


class Outside(Exception):
    """Why a request must not be signed."""


def selector(function: str) -> bytes:
    return bytes(keccak(text=function)[:4])


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The contracts, lower case."""

    account: str
    safe: str
    multi_send: str
    usdc: str
    susd: str
    router: str
    market: str
    collateral: str  # Lyra's ShortCollateral, which settles
    manager: str  # v3 position manager

    @property
    def caps(self) -> Mapping[str, tuple[int, int]]:
        """Per token: most of a transaction, most of a day."""
        return {
            token: (TRANSACTION_USD * 10**decimals, DAY_USD * 10**decimals)
            for token, decimals in ((self.usdc, 6), (self.susd, 18))
        }


@dataclass(kw_only=True)
class Oracle:
    """Judges what was signed, and remembers it as the chain would have to take it."""

    at: Places
    payloads: dict[tuple[str, int], tuple[str, bytes, int]] = field(default_factory=dict)
    spent: list[tuple[float, str, int]] = field(default_factory=list)  # at, token, raw
    counted: dict[tuple[str, int, str], int] = field(default_factory=dict)
    latest_s: float = 0.0

    def judge(self, request: dict[str, Any], signature: bytes) -> str:
        """Return why a signature should not be there, "" when it may."""
        try:
            if request["kind"] == "sign":
                self._transaction(request["transaction"], float(request["now_s"]), signature)
            elif request["kind"] == "sign_safe":
                self._safe(request, signature)
            else:
                raise Outside(f"a signature for {request['kind']!r}")
        except Outside as why:
            return str(why)
        except Exception as error:  # noqa: BLE001 - what the oracle cannot read must not be signed
            return f"{type(error).__name__}: {error}"
        return ""

    # what is signed

    def _transaction(self, tx: dict[str, Any], now_s: float, signature: bytes) -> None:
        to, data = tx["to"].lower(), bytes.fromhex(tx["data"])
        made = {
            "type": 2, "chainId": tx["chain_id"], "nonce": tx["nonce"], "to": bytes.fromhex(to[2:]),
            "data": data,
            "value": tx["value_wei"], "gas": tx["gas"], "maxFeePerGas": tx["max_fee_wei"],
            "maxPriorityFeePerGas": tx["tip_wei"],
        }  # fmt: skip
        self._require_signer(bytes(TypedTransaction.from_dict(made).hash()), signature)
        _require(tx["chain_id"] == CHAIN_ID, "another chain")
        _require(tx["value_wei"] == 0, "value")
        _require(tx["max_fee_wei"] <= MOST_FEE_WEI, "fee")
        _require(tx["gas"] > 0, "no gas")
        payload = (to, data, 0)
        if (to, data) == (self.at.account, b""):
            _require(tx["gas"] <= MOST_CANCEL_GAS, "gas of a cancel")
            highest = self._highest(to)
            _require(highest < 0 or tx["nonce"] <= highest + CANCELS_AHEAD, "a cancel far ahead")
            self.payloads.setdefault((to, tx["nonce"]), payload)
            return
        _require(tx["gas"] <= MOST_GAS, "gas")
        _require_times(tx["valid_until_s"], now_s)
        self._require_nonce(self.at.account, tx["nonce"], payload)
        if to == self.at.safe:
            self._execution(data, tx["valid_until_s"], now_s)
            return
        spends = self._calls(((to, data, 0),), self.at.account, tx["valid_until_s"], now_s)
        self._count(self.at.account, tx["nonce"], spends, now_s)

    def _execution(self, data: bytes, until_s: float, now_s: float) -> None:
        """The account passes on what the owners signed: it must be what they may sign."""
        _require(data[:4] == selector(f"execTransaction{EXECUTE}"), "another function of the Safe")
        args = _decoded(EXECUTE, data[4:])
        _require(args[4:9] == (0, 0, 0, NOBODY, NOBODY), "a refund")
        self._safe_calls(args[0].lower(), args[1], args[2], args[3], until_s, now_s)

    def _safe(self, request: dict[str, Any], signature: bytes) -> None:
        tx, now_s = request["transaction"], float(request["now_s"])
        to, data = tx["to"].lower(), bytes.fromhex(tx["data"])
        message = {
            "to": tx["to"], "value": tx["value_wei"], "data": data, "operation": tx["operation"],
            "safeTxGas": 0, "baseGas": 0, "gasPrice": 0, "gasToken": NOBODY, "refundReceiver": NOBODY,
            "nonce": tx["nonce"],
        }  # fmt: skip
        domain = {"chainId": CHAIN_ID, "verifyingContract": self.at.safe}
        typed = encode_typed_data(
            full_message={
                "types": _SAFE_TYPES, "primaryType": "SafeTx", "domain": domain, "message": message
            }
        )  # fmt: skip
        self._require_signer(bytes(_hash_eip191_message(typed)), signature)
        _require((request["chain_id"], request["safe"].lower()) == (CHAIN_ID, self.at.safe), "another Safe")
        _require(tx["nonce"] >= self._highest(self.at.safe), "a nonce of the Safe below one that was signed")
        until_s = request["valid_until_s"]
        spends = self._safe_calls(to, tx["value_wei"], data, tx["operation"], until_s, now_s)
        payload = (to, data, tx["operation"])
        self.payloads[self.at.safe, tx["nonce"]] = payload
        self._count(self.at.safe, tx["nonce"], spends, now_s)

    def _safe_calls(
        self, to: str, value: int, data: bytes, operation: int, until_s: float, now_s: float
    ) -> dict[str, int]:
        _require(value == 0, "value")
        if to == self.at.safe:
            _require((data, operation) == (b"", 0), "the Safe would change itself")
            return {}
        _require_times(until_s, now_s)
        if operation == 0:
            return self._calls(((to, data, 0),), self.at.safe, until_s, now_s)
        _require((to, operation) == (self.at.multi_send, 1), "a delegate call of something else")
        _require(data[:4] == selector("multiSend(bytes)"), "another function of MultiSend")
        (blob,) = _decoded("(bytes)", data[4:])
        return self._calls(tuple(_unpacked(blob)), self.at.safe, until_s, now_s)

    # calls

    def _calls(
        self, calls: tuple[tuple[str, bytes, int], ...], holder: str, until_s: float, now_s: float
    ) -> dict[str, int]:
        """Return what the calls spend of each token; raise Outside for one that is not in the table."""
        spends: dict[str, int] = {}
        for to, data, value in calls:
            _require(value == 0, "value")
            if data[:4] == selector("approve(address,uint256)") and to in self.at.caps:
                spender, raw = _decoded("(address,uint256)", data[4:])
                if self._spends(to, spender.lower(), raw):
                    spends[to] = spends.get(to, 0) + raw
                continue
            check = self._table().get((to, data[:4]))
            _require(check is not None, f"0x{data[:4].hex()} of {to}")
            assert check is not None
            check(data[4:], holder, until_s, now_s)
        return spends

    def _spends(self, token: str, spender: str, raw: int) -> bool:
        """Say whether an allowance is what a purchase pays from. Raises Outside for one that nobody needs."""
        pays = {(self.at.usdc, self.at.router): True, (self.at.susd, self.at.market): True}
        allowed = pays | {(self.at.susd, self.at.router): False}
        if raw == 0:
            return False
        _require((token, spender) in allowed, f"an allowance of {token} for {spender}")
        _require(raw < 2**127, "a standing allowance")
        return allowed[token, spender]

    def _table(self) -> dict[tuple[str, bytes], Callable[[bytes, str, float, float], None]]:
        at = self.at
        return {
            (at.market, selector(f"openPosition{TRADE}")): _bound(TRADE, 7),
            (at.market, selector(f"closePosition{TRADE}")): _bound(TRADE, 6, most=2**256),
            (at.market, selector(f"forceClosePosition{TRADE}")): _bound(TRADE, 6, most=2**256),
            (at.market, selector("settleExpiredBoard(uint256)")): _free("(uint256)"),
            (at.collateral, selector("settleOptions(uint256[])")): _free("(uint256[])"),
            (at.router, selector(f"exactInputSingle{SWAP}")): self._swap,
            (at.manager, selector("decreaseLiquidity((uint256,uint128,uint256,uint256,uint256))")): _decrease,
            (at.manager, selector("collect((uint256,address,uint128,uint128))")): self._collect,
            (at.manager, selector("burn(uint256)")): _free("(uint256)"),
        }

    def _swap(self, data: bytes, _holder: str, until_s: float, now_s: float) -> None:
        ((one, other, _, recipient, deadline, _, least, _),) = _decoded(SWAP, data)
        _require({one.lower(), other.lower()} == {self.at.usdc, self.at.susd}, "another pair")
        _require(recipient.lower() in (self.at.account, self.at.safe), "a swap for a stranger")
        _require(least > 0, "a swap without a least amount")
        _require(now_s < deadline <= until_s, "a swap's deadline")

    def _collect(self, data: bytes, _holder: str, _until_s: float, _now_s: float) -> None:
        ((_, recipient, _, _),) = _decoded("((uint256,address,uint128,uint128))", data)
        _require(recipient.lower() in (self.at.account, self.at.safe), "collected for a stranger")

    # what is remembered

    def _require_nonce(self, space: str, nonce: int, payload: tuple[str, bytes, int]) -> None:
        _require(0 <= nonce < 2**64, "nonce")
        before = self.payloads.get((space, nonce))
        _require(
            before == payload or (before is None and nonce > self._highest(space)),
            f"nonce {nonce} was signed for another payload, or passed",
        )
        self.payloads[space, nonce] = payload

    def _highest(self, space: str) -> int:
        """Return the highest nonce that anything but a cancel or a rejection was signed for."""
        return max(
            (
                number
                for (whose, number), (to, data, _) in self.payloads.items()
                if whose == space and (to, data) != (space, b"")
            ),
            default=-1,
        )

    def _count(self, space: str, nonce: int, spends: dict[str, int], now_s: float) -> None:
        """Hold what is spent against the caps; of what was signed for one nonce only the most comes true."""
        self.latest_s = max(self.latest_s, now_s)
        for token, raw in spends.items():
            _require(raw <= self.at.caps[token][0], "the cap of a transaction")
            more = raw - self.counted.get((space, nonce, token), 0)
            if more <= 0:
                continue
            self.counted[space, nonce, token] = raw
            self.spent.append((self.latest_s, token, more))
            since_s = self.latest_s - DAY_S
            day = sum(one for at_s, name, one in self.spent if name == token and at_s > since_s)
            _require(day <= self.at.caps[token][1], "the cap of a day")

    def _require_signer(self, message_hash: bytes, signature: bytes) -> None:
        made = KeyAPI.Signature(signature[:64] + bytes([signature[64] % 27]))
        found = made.recover_public_key_from_msg_hash(message_hash).to_address()
        _require(found == self.at.account, f"a signature over something else, of {found}")


def _require(is_so: object, why: str) -> None:
    if not is_so:
        raise Outside(why)


def _require_times(until_s: float, now_s: float) -> None:
    _require(now_s < until_s <= now_s + MOST_AHEAD_S, f"valid until {until_s} at {now_s}")


def _decoded(types: str, data: bytes) -> tuple[Any, ...]:
    """Return arguments whose only encoding is ``data``."""
    inside = types[1:-1]
    kinds = [inside] if inside.startswith("(") or "," not in inside else inside.split(",")
    values = decode(kinds, data)
    _require(encode(kinds, values) == data, "another encoding of its arguments")
    return tuple(values)


def _bound(types: str, place: int, *, most: int = 2**127) -> Callable[[bytes, str, float, float], None]:
    def check(data: bytes, _holder: str, _until_s: float, _now_s: float) -> None:
        (values,) = _decoded(types, data)
        _require(0 < values[place] < most, "no bound on what is paid or comes back")

    return check


def _free(types: str) -> Callable[[bytes, str, float, float], None]:
    def check(data: bytes, _holder: str, _until_s: float, _now_s: float) -> None:
        _decoded(types, data)

    return check


def _decrease(data: bytes, _holder: str, until_s: float, now_s: float) -> None:
    ((_, _, least_0, least_1, deadline),) = _decoded("((uint256,uint128,uint256,uint256,uint256))", data)
    _require(least_0 > 0 or least_1 > 0, "a withdrawal without a least amount")
    _require(now_s < deadline <= until_s, "a withdrawal's deadline")


def _unpacked(blob: bytes) -> Any:
    _require(blob, "an empty batch")
    while blob:
        _require(len(blob) >= 85 and blob[0] == 0, "a batch that is cut, or has another operation")
        size = int.from_bytes(blob[53:85], "big")
        _require(len(blob) >= 85 + size, "a batch that is cut")
        yield f"0x{blob[1:21].hex()}", blob[85 : 85 + size], int.from_bytes(blob[21:53], "big")
        blob = blob[85 + size :]
