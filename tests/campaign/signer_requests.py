"""Requests for the fuzz of the signer: good ones of each kind, and what is done to them, from one seed."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from eth_abi import encode

from campaign.signer_oracle import (
    CHAIN_ID,
    DAY_S,
    EXECUTE,
    MOST_FEE_WEI,
    NOBODY,
    SWAP,
    TRADE,
    TRANSACTION_USD,
    Places,
)
from campaign.signer_oracle import selector as _selector

STRANGER = "0x" + "66" * 20
START_S = 1_700_000_000
_STEP_S = 90  # of chain time between two requests
_EDGES = (0, 1, 2**127 - 1, 2**127, 2**128, 2**255, 2**256 - 1)

Tx = dict[str, Any]


@dataclass(kw_only=True)
class Requests:
    """Makes one request after the other. ``epoch`` is what the last hello gave."""

    random: Random
    at: Places
    now_s: float = START_S
    nonce: int = 0
    safe_nonce: int = 0
    epoch: int = 0
    signed: list[Tx] = field(default_factory=list)  # transactions whose nonce may be asked for again

    def next(self) -> tuple[bytes | dict[str, Any], bool]:
        """Return a request, or raw bytes for the socket, and whether it was left as a good one."""
        self.now_s += self.random.randrange(2 * _STEP_S)
        chance = self.random.random()
        if chance < 0.02:
            return self._bytes(), False
        request = self._safe_request() if chance < 0.22 else self._request()
        if self.random.random() < 0.45:
            return request, True
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            mutate = self.random.choice(_MUTATIONS)
            mutate(self, request)
            if mutate is _kind:  # the next one may not find its field any more
                break
        return request, False

    # good ones

    def _request(self) -> dict[str, Any]:
        to, data = self._call(self.at.account)
        gas = self.random.randrange(21_000, 8_000_000)
        if self.random.random() < 0.06:
            to, data, gas = self.at.account, b"", 21_000
        elif self.random.random() < 0.08:
            to, data = self.at.safe, self._execution()
        nonce = self.nonce
        self.nonce += self.random.choice((1, 1, 1, 2))
        made = {
            "chain_id": CHAIN_ID, "nonce": nonce, "to": to, "data": data.hex(), "value_wei": 0, "gas": gas,
            "max_fee_wei": self.random.randrange(10**9, MOST_FEE_WEI), "tip_wei": 10**8,
            "valid_until_s": self.now_s + 600,
        }  # fmt: skip
        if self.signed and self.random.random() < 0.15:  # again, for another fee
            made = {
                **self.random.choice(self.signed),
                "max_fee_wei": made["max_fee_wei"],
                "valid_until_s": self.now_s + 600,
            }
        self.signed = [*self.signed[-20:], made]
        return {"kind": "sign", "epoch": self.epoch, "now_s": self.now_s, "transaction": made}

    def _safe_request(self) -> dict[str, Any]:
        self.safe_nonce += self.random.choice((0, 1, 1, 1))
        to, data, operation = self._safe_part()
        if self.random.random() < 0.1:
            to, data, operation = self.at.safe, b"", 0  # a rejection
        made = {
            "to": to,
            "value_wei": 0,
            "data": data.hex(),
            "operation": operation,
            "nonce": self.safe_nonce,
        }
        return {
            "kind": "sign_safe", "epoch": self.epoch, "now_s": self.now_s, "transaction": made,
            "chain_id": CHAIN_ID, "safe": self.at.safe, "valid_until_s": self.now_s + DAY_S,
        }  # fmt: skip

    def _safe_part(self) -> tuple[str, bytes, int]:
        if self.random.random() < 0.4:
            return (*self._call(self.at.safe), 0)
        calls = [self._call(self.at.safe) for _ in range(self.random.randrange(1, 5))]
        return self.at.multi_send, batch(calls), 1

    def _execution(self) -> bytes:
        to, data, operation = self._safe_part()
        values = (to, 0, data, operation, 0, 0, 0, NOBODY, NOBODY, self.random.randbytes(65))
        return called("execTransaction", EXECUTE, *values)

    def _call(self, holder: str) -> tuple[str, bytes]:
        """Return one call that a venue's plan may hold."""
        at, number, until = self.at, self.random.randrange(1, 10**24), int(self.now_s) + 300
        usd = self.random.choice((0, 1, self.random.randrange(TRANSACTION_USD + 300), TRANSACTION_USD))
        trade = [self.random.randrange(1, 10**6) for _ in range(8)]
        trade[3] = self.random.randrange(5)
        one, other = self.random.sample((at.usdc, at.susd), 2)
        approve = "(address,uint256)"
        return self.random.choice(
            (
                (at.usdc, called("approve", approve, at.router, usd * 10**6)),
                (at.susd, called("approve", approve, at.market, usd * 10**18)),
                (at.susd, called("approve", approve, at.router, number)),
                (at.usdc, called("approve", approve, STRANGER, 0)),
                (at.market, called("openPosition", TRADE, tuple(trade))),
                (at.market, called("closePosition", TRADE, tuple(trade))),
                (at.market, called("forceClosePosition", TRADE, tuple(trade))),
                (at.market, called("settleExpiredBoard", "(uint256)", number)),
                (at.collateral, called("settleOptions", "(uint256[])", trade[:3])),
                (
                    at.router,
                    called("exactInputSingle", SWAP, (one, other, 500, holder, until, number, 1 + number, 0)),
                ),
                (
                    at.manager,
                    called("collect", "((uint256,address,uint128,uint128))", (4, holder, 2**127, 2**127)),
                ),
                (at.manager, called("burn", "(uint256)", number)),
            )
        )

    # bytes that are no request

    def _bytes(self) -> bytes:
        random = self.random
        body = json.dumps(self._request()).encode()
        return random.choice(
            (
                struct.pack(">I", 2**32 - 1) + b"{}",
                struct.pack(">I", 300_000) + bytes(200),
                struct.pack(">I", 40) + random.randbytes(40),
                struct.pack(">I", len(body)) + body.replace(b'"kind"', b'"kin"'),
                struct.pack(">I", len(body)) + bytes(item ^ (random.random() < 0.02) for item in body),
                struct.pack(">I", 60_000) + b'{"a":' * 12_000,
                struct.pack(">I", 5) + b"[1,2]",
            )
        )


def called(name: str, types: str, *values: Any) -> bytes:
    """Return calldata; ``types`` in brackets, as in a signature."""
    inside = types[1:-1]
    kinds = [inside] if inside.startswith("(") or "," not in inside else inside.split(",")
    return _selector(f"{name}{types}") + bytes(encode(kinds, values))


def batch(calls: list[tuple[str, bytes]], operation: int = 0) -> bytes:
    """Return calldata of ``multiSend``."""
    packed = b"".join(
        bytes([operation]) + bytes.fromhex(to[2:]) + bytes(32) + len(data).to_bytes(32, "big") + data
        for to, data in calls
    )
    return called("multiSend", "(bytes)", packed)


# what is done to a good request; each takes the maker and the request

Mutation = Callable[[Requests, dict[str, Any]], None]


def _target(one: Requests, request: dict[str, Any]) -> None:
    at = one.at
    places = (
        STRANGER,
        NOBODY,
        at.account,
        at.safe,
        at.multi_send,
        at.usdc,
        at.susd,
        at.router,
        at.market,
        at.manager,
    )
    request["transaction"]["to"] = one.random.choice(places)


def _selector_of_another(one: Requests, request: dict[str, Any]) -> None:
    names = (
        "transfer(address,uint256)", "transferFrom(address,address,uint256)",
        "increaseAllowance(address,uint256)",
        "setApprovalForAll(address,bool)", "approve(address,uint256)", f"openPosition{TRADE}",
        "multicall(bytes[])",
        f"execTransaction{EXECUTE}", "addOwnerWithThreshold(address,uint256)", "enableModule(address)",
    )  # fmt: skip
    data = bytes.fromhex(request["transaction"]["data"])
    request["transaction"]["data"] = (_selector(one.random.choice(names)) + data[4:]).hex()


def _word(one: Requests, request: dict[str, Any]) -> None:
    """Put an edge, a stranger or noise in one word of the calldata."""
    data = bytearray.fromhex(request["transaction"]["data"])
    words = (len(data) - 4) // 32
    if words <= 0:
        return
    number = one.random.choice(
        (*_EDGES, int(STRANGER, 16), int(one.at.account, 16), one.random.randrange(2**256))
    )
    place = 4 + 32 * one.random.randrange(words)
    data[place : place + 32] = number.to_bytes(32, "big")
    request["transaction"]["data"] = data.hex()


def _bit(one: Requests, request: dict[str, Any]) -> None:
    data = bytearray.fromhex(request["transaction"]["data"])
    if data:
        data[one.random.randrange(len(data))] ^= 1 << one.random.randrange(8)
        request["transaction"]["data"] = data.hex()


def _length(one: Requests, request: dict[str, Any]) -> None:
    data = bytes.fromhex(request["transaction"]["data"])
    more = one.random.randbytes(one.random.choice((1, 4, 32)))
    request["transaction"]["data"] = one.random.choice(
        (data[:-1], data[:4], data + more, data + bytes(32))
    ).hex()


def _allowance(one: Requests, request: dict[str, Any]) -> None:
    """An allowance that nobody needs, or one around a cap."""
    at, random = one.at, one.random
    token = random.choice((at.usdc, at.susd, STRANGER))
    spender = random.choice((STRANGER, at.router, at.market, at.account, at.safe, at.manager))
    unit = 10**6 if token == at.usdc else 10**18
    raw = random.choice((*_EDGES, TRANSACTION_USD * unit, TRANSACTION_USD * unit + 1, 1))
    request["transaction"] |= {
        "to": token,
        "data": called("approve", "(address,uint256)", spender, raw).hex(),
    }


def _swap_for_a_stranger(one: Requests, request: dict[str, Any]) -> None:
    at, random, now = one.at, one.random, int(one.now_s)
    least = random.choice((0, 1, 10**6))
    deadline = random.choice((0, now, now + 60, now + 601, now + 10**6, 2**64))
    values = (
        at.usdc,
        at.susd,
        500,
        random.choice((STRANGER, at.account, at.safe, NOBODY)),
        deadline,
        10**9,
        least,
        0,
    )
    request["transaction"] |= {"to": at.router, "data": called("exactInputSingle", SWAP, values).hex()}


def _batch(one: Requests, request: dict[str, Any]) -> None:
    """A batch with a bad call among good ones, another operation, a batch inside, or made by the account."""
    random, at = one.random, one.at
    good = [one._call(at.safe) for _ in range(2)]
    bad = random.choice(
        (
            (at.usdc, called("transfer", "(address,uint256)", STRANGER, 1)),
            (at.safe, called("enableModule", "(address)", STRANGER)),
            (at.multi_send, batch(good)),
            (STRANGER, b""),
            (at.susd, called("approve", "(address,uint256)", STRANGER, 1)),
            *good,
        )
    )
    calls = [*good, bad]
    random.shuffle(calls)
    data = batch(calls, operation=random.choice((0, 0, 0, 1, 2)))
    request["transaction"] |= {"to": at.multi_send, "data": data.hex()}
    if "operation" in request["transaction"]:
        request["transaction"]["operation"] = 1


def _number(one: Requests, request: dict[str, Any]) -> None:
    """One of the numbers beside the call."""
    random, tx, now_s = one.random, request["transaction"], one.now_s
    changes: dict[str, tuple[Any, ...]] = {
        "value_wei": (1, 10**18, 2**256 - 1),
        "gas": (0, 1, 8_000_000, 8_000_001, 2**64, 2**255),
        "max_fee_wei": (MOST_FEE_WEI, MOST_FEE_WEI + 1, 2**200),
        "chain_id": (1, 5, 10, 31338, 42161, 0, 2**255),
        "nonce": (
            0,
            one.nonce,
            one.nonce - 1,
            max(one.nonce - 5, 0),
            one.nonce + 1_000_000,
            2**64 - 1,
            2**64,
        ),
        "valid_until_s": (0.0, now_s, now_s - 1, now_s + 7 * DAY_S, now_s + 7 * DAY_S + 1, 2.0**52, -1.0),
        "operation": (0, 1, 2, 255),
    }
    name = random.choice([name for name in changes if name in tx or name in request])
    place = tx if name in tx else request
    if name == "nonce" and random.random() < 0.9:  # the highest one would end all that follow
        place[name] = random.choice(changes[name][:4])
    elif name == "nonce":
        place[name] = 2**64
    else:
        place[name] = random.choice(changes[name])


def _kind(one: Requests, request: dict[str, Any]) -> None:
    """A field of another type, one too many, one too few; another epoch, kind or Safe; a clock that jumps."""
    random, place = one.random, one.random.choice((request, request["transaction"]))
    name = random.choice(list(place))
    change = random.randrange(5)
    if change == 0:
        place[name] = random.choice((None, True, "0x10", -1, 1.5, [], {}, "9" * 400, 2**300))
    elif change == 1:
        del place[name]
    elif change == 2:
        place["more"] = 1
    elif change == 3:
        request["epoch"] = random.choice((0, one.epoch - 1, one.epoch + 1, 10**9))
    else:
        request["now_s"] = random.choice((one.now_s - 2 * DAY_S, one.now_s + 60, 0, -1.0))
    if "safe" in request and random.random() < 0.2:
        request["safe"] = STRANGER


_MUTATIONS: tuple[Mutation, ...] = (
    _target, _selector_of_another, _word, _word, _word, _bit, _length, _allowance, _allowance,
    _swap_for_a_stranger, _batch, _number, _number, _kind,
)  # fmt: skip
