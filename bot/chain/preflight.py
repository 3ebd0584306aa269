"""All that is asked of the chain before a transaction is signed: one request, pinned to one block."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bot.chain.account_view import Head
from bot.chain.chain_traits import FeeParts
from bot.chain.code_pins import CodePins, RpcCall
from bot.chain.fees import (
    BLOCKS,
    PERCENTILE,
    FeeMarket,
    FeePolicy,
    Fees,
    fee_cap_wei,
    first_fees,
    parse_fee_history,
)
from bot.chain.l2_fees import L1Share, read_share, share_calls
from bot.chain.rpc import Node, RevertError, hex_bytes, quantity
from bot.errors import TransientError, VenueRejected
from bot.model.intent import TxRequest

_GAS_ROOM_NUMERATOR, _GAS_ROOM_DENOMINATOR = 5, 4  # of the gas limit, over the estimate


class Preflight(NamedTuple):
    """What a request may be signed with; ``request`` has the bound on its gas that L1 leaves."""

    request: TxRequest
    gas: int
    fees: Fees
    latest_nonce: int
    pending_nonce: int
    newest_hash: str  # of the head when this was read; another one: the block asked about is not the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Asks one node about one account's requests."""

    node: Node
    chain_id: int
    sender: str
    policy: FeePolicy
    parts: FeeParts = FeeParts.L1
    pins: CodePins | None = None

    async def inspect(self, request: TxRequest, head: Head) -> Preflight:
        """Simulate a request at ``head``, price it, and read the nonces.

        Raises VenueRejected when the call reverts, needs too much gas or money, is too dear, or its target
        has no code or changed code; TransientError when the node does not say. Nothing was signed then.
        """
        groups = self._calls(request, head)
        replies = iter(await self.node.batch([call for group in groups for call in group]))
        code, simulation, money, pins, share = ([next(replies) for _ in group] for group in groups)
        _check_code(request, code)
        if self.pins is not None:
            self.pins.check(request.to, pins)
        l1 = read_share(self.parts, share)
        gas = _gas_limit(request, simulation, l1)
        history, balance, latest, pending, newest = map(_known, money)
        bounded = _bounded(request, l1)
        fees = self._fees(bounded, parse_fee_history(history), gas=gas)
        self._check_money(request, held_wei=quantity(balance), needed_wei=gas * fees.max_fee_wei + l1.fee_wei)
        return Preflight(
            bounded,
            gas,
            fees,
            quantity(latest),
            quantity(pending),
            str((newest or {}).get("hash", "")).lower(),
        )

    def _calls(self, request: TxRequest, head: Head) -> list[list[RpcCall]]:
        block = head.pin
        call = {
            "from": self.sender,
            "to": request.to,
            "data": "0x" + request.data.hex(),
            "value": hex(request.value_wei),
        }
        count = "eth_getTransactionCount"
        return [
            [("eth_getCode", [request.to, block])] if request.data else [],
            [("eth_call", [call, block]), ("eth_estimateGas", [call, block])],
            [
                ("eth_feeHistory", [hex(BLOCKS), hex(head.number), [PERCENTILE]]),
                ("eth_getBalance", [self.sender, block]),
                (count, [self.sender, block]),
                (count, [self.sender, "pending"]),
                ("eth_getBlockByNumber", ["latest", False]),
            ],
            self.pins.calls(request.to, block) if self.pins is not None else [],
            share_calls(
                self.parts,
                request,
                chain_id=self.chain_id,
                sender=self.sender,
                policy=self.policy,
                block=block,
            ),
        ]

    def _fees(self, request: TxRequest, market: FeeMarket, *, gas: int) -> Fees:
        cap_wei = fee_cap_wei(self.policy, max_gas_cost_wei=request.max_gas_cost_wei, gas=gas)
        return first_fees(market, self.policy, cap_wei=cap_wei)

    def _check_money(self, request: TxRequest, *, held_wei: int, needed_wei: int) -> None:
        needed_wei += request.value_wei
        if held_wei < needed_wei:
            raise VenueRejected(
                f"{request.purpose}: gas and value may cost {needed_wei / 1e18:.6f} of the chain's coin, "
                f"{self.sender} holds {held_wei / 1e18:.6f}: send it some (nothing was signed)"
            )


def _check_code(request: TxRequest, replies: Sequence[Any]) -> None:
    if replies and not hex_bytes(_known(replies[0])):
        raise VenueRejected(f"{request.purpose}: there is no contract at {request.to}")


def _gas_limit(request: TxRequest, replies: Sequence[Any], l1: L1Share) -> int:
    """Return the gas limit: 1.25 times what the call itself uses, within the ceiling, and the L1 share."""
    for reply in replies:
        if isinstance(reply, RevertError):
            raise VenueRejected(f"{request.purpose}: {reply.reason} (simulated, nothing was sent)")
    _, estimate = map(_known, replies)
    own = max(quantity(estimate) - l1.estimated_gas, 1)
    if own > request.gas_ceiling:
        raise VenueRejected(f"{request.purpose}: needs {own} gas, the ceiling is {request.gas_ceiling}")
    return min(own * _GAS_ROOM_NUMERATOR // _GAS_ROOM_DENOMINATOR, request.gas_ceiling) + l1.gas


def _bounded(request: TxRequest, l1: L1Share) -> TxRequest:
    """Return the request with what L1 takes off its bound: replacements keep to what is left."""
    if not request.max_gas_cost_wei or not l1.fee_wei:
        return request
    left_wei = request.max_gas_cost_wei - l1.fee_wei
    if left_wei <= 0:
        raise VenueRejected(
            f"{request.purpose}: gas is too dear: the L1 data fee alone may be {l1.fee_wei} wei, "
            f"all of its gas may cost {request.max_gas_cost_wei}"
        )
    return replace(request, max_gas_cost_wei=left_wei)


def _known(reply: Any) -> Any:
    if isinstance(reply, TransientError):
        raise reply
    return reply
