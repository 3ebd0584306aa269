"""Takes liquidity out of Uniswap v4 (R29): one call of the PositionManager, which carries packed actions.

A v4 pool keeps no observations, so the fair price is that of the view's feeds, as for v2. The least amounts
hold for the liquidity alone: fees that come with it are on top (SlippageCheck of v4-periphery), and a hook
that takes a part of it makes the call fail at them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.account_order import AccountFact, AccountOrder, Moved
from bot.model.execution import ExecutionPlan
from bot.model.intent import Log, Receipt
from bot.model.market import Block
from bot.model.signing import ActionRule, CallRule, Guard, Permission
from bot.ports import ChainReader, MarketView
from bot.quant.ticks import sqrt_ratio_x96
from bot.venues.priced_token import PricedToken
from bot.venues.steps import executed, without_event
from bot.venues.withdrawal import (
    EXIT_GAS_CEILING,
    WITHDRAW,
    ExitPair,
    check_owner,
    exit_step,
    part_of,
)

POSITIONS = Abi.load("PositionManager")
POOL_MANAGER = Abi.load("PoolManager")
STATE_VIEW = Abi.load("StateView")
ERC20 = Abi.load("ERC20")
NATIVE = "0x" + "00" * 20  # how a pool key writes the chain's own coin
# Actions.sol and CalldataDecoder.sol of v4-periphery 1.0: codes, and the types of their parameters.
DECREASE, BURN, TAKE_PAIR = 0x01, 0x03, 0x11
DECREASE_TYPES = (
    "uint256",
    "uint256",
    "uint128",
    "uint128",
    "bytes",
)  # token, liquidity, least 0, 1, hook data
BURN_TYPES = ("uint256", "uint128", "uint128", "bytes")  # token, least 0, 1, hook data
TAKE_PAIR_TYPES = ("address", "address", "address")  # currency 0, 1, recipient
_KEY = ("address", "address", "uint24", "int24", "address")
PoolKey = tuple[str, str, int, int, str]  # currency 0, 1, fee, tick spacing, hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class V4Exit:
    """AccountAdapter over one position of Uniswap v4."""

    reader: ChainReader
    account: str
    positions: str  # PositionManager
    pool_manager: str
    state_view: str
    token_id: int
    key: PoolKey
    pair: ExitPair

    @property
    def name(self) -> str:
        return f"v4:{self.token_id}"

    @property
    def least_gas_ceiling(self) -> int:
        return EXIT_GAS_CEILING

    def permissions(self) -> tuple[Permission, ...]:
        """Withdraw or burn with at least one floor and no data for a hook, then take both to ourselves."""
        take = ActionRule(code=TAKE_PAIR, arguments=TAKE_PAIR_TYPES, recipients=((2,),))
        return tuple(
            CallRule(
                target=self.positions.lower(),
                function=POSITIONS.function("modifyLiquidities").signature,
                guard=Guard.BOUND,
                opens=False,
                deadline=(1,),
                packed=(0,),
                actions=(
                    ActionRule(code=code, arguments=types, least=(floor,), zeros=((len(types) - 1,),)),
                    take,
                ),
            )
            for code, types, floors in ((DECREASE, DECREASE_TYPES, (2, 3)), (BURN, BURN_TYPES, (1, 2)))
            for floor in floors
        )

    async def plan(self, order: AccountOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """See ports.AccountAdapter."""
        held, ticks, at_x96 = await self._read(head)
        nothing = f"position {self.name} holds no liquidity to withdraw"
        liquidity = part_of(order, held, nothing=nothing)
        lower, upper = ticks
        floors = self.pair.floors(
            liquidity,
            at_x96=at_x96,
            fair_x96=self.pair.price_of_feeds_x96(view, name=self.name),
            range_x96=(sqrt_ratio_x96(lower), sqrt_ratio_x96(upper)),
            name=self.name,
        )
        data = self._data(None if liquidity == held else liquidity, floors, int(order.valid_until_s))
        await self.reader.simulate(to=self.positions, data=data, block=head, sender=self.account)
        step = exit_step(WITHDRAW, to=self.positions, data=data)
        return self.pair.plan(order, [step], floors, view)

    def fact(self, order: AccountOrder, receipts: Mapping[str, Receipt]) -> AccountFact | None:
        """See ports.AccountAdapter. The chain's own coin leaves no event: how much came is NaN."""
        receipt = executed(receipts, WITHDRAW)
        if receipt is None:
            return None
        salt = self.token_id.to_bytes(32, "big")
        changes = POOL_MANAGER.logs("ModifyLiquidity", receipt.logs, address=self.pool_manager)
        if not any(bytes(item["salt"]) == salt and item["liquidityDelta"] < 0 for item in changes):
            raise without_event(order.key, receipt)
        moved = tuple(
            Moved(asset=token.symbol, units=self._received(currency, token, receipt.logs))
            for currency, token in zip(self.key[:2], self.pair.tokens, strict=True)
        )
        return AccountFact(moved=moved, receipt=receipt)

    def _received(self, currency: str, token: PricedToken, logs: tuple[Log, ...]) -> float:
        if currency == NATIVE:
            return math.nan
        raw = sum(
            event["value"]
            for event in ERC20.logs("Transfer", logs, address=currency)
            if str(event["from"]).lower() == self.pool_manager.lower()
            and str(event["to"]).lower() == self.account.lower()
        )
        return token.units(raw)

    def _data(self, liquidity: int | None, floors: tuple[int, int], until_s: int) -> bytes:
        """Return the call that withdraws so much; None burns the position, which withdraws all of it."""
        code, types, amount = (
            (BURN, BURN_TYPES, ()) if liquidity is None else (DECREASE, DECREASE_TYPES, (liquidity,))
        )
        less = encode(types, (self.token_id, *amount, *floors, b""))
        take = encode(TAKE_PAIR_TYPES, (*self.key[:2], self.account))
        packed = encode(("bytes", "bytes[]"), (bytes((code, TAKE_PAIR)), [less, take]))
        return POSITIONS.encode("modifyLiquidities", packed, until_s)

    async def _read(self, head: Block) -> tuple[int, tuple[int, int], int]:
        """Return the position's liquidity and ticks, and the pool's square root of price.

        Raises VenueRejected where it is not ours, or lies in another pool.
        """
        pool_id = keccak(encode(_KEY, self.key))
        calls = (
            POSITIONS.call("getPoolAndPositionInfo", self.positions, self.token_id),
            POSITIONS.call("getPositionLiquidity", self.positions, self.token_id),
            POSITIONS.call("ownerOf", self.positions, self.token_id),
            STATE_VIEW.call("getSlot0", self.state_view, pool_id),
        )
        info, liquidity, owner, slot0 = await self.reader.read(calls, block=head)
        if info is None or liquidity is None or slot0 is None:
            raise TransientError(f"position {self.name} could not be read at block {head.number}")
        check_owner(owner, self.account, self.name)
        found, packed = info
        if tuple(_lower(part) for part in found) != tuple(_lower(part) for part in self.key):
            raise VenueRejected(f"position {self.name} is not in the configured pool; nothing was sent")
        return int(liquidity[0]), (_signed24(packed >> 8), _signed24(packed >> 32)), int(slot0[0])


def _lower(part: str | int) -> str | int:
    return part.lower() if isinstance(part, str) else part


def _signed24(word: int) -> int:
    """Return a tick of PositionInfo: from its low end a flag of 8 bits, 24 of the lower, 24 of the upper."""
    value = word & 0xFFFFFF
    return value - 0x1000000 if value & 0x800000 else value
