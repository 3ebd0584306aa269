"""Takes liquidity out of Uniswap v2 and v3 (R29): whole or in part, never for less than a fair price gives.

The fair price is the pool's own mean over half an hour (v3), or that of the view's feeds (v2).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.account_order import AccountFact, AccountOrder
from bot.model.execution import ExecutionPlan, Payment
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.ports import Call, ChainReader, MarketView
from bot.quant.ticks import MAX_TICK, MIN_TICK, sqrt_ratio_x96
from bot.venues.overrides import FundedSender
from bot.venues.steps import executed, without_event
from bot.venues.withdrawal import (
    EXIT_GAS_CEILING,
    WITHDRAW,
    ExitPair,
    check_owner,
    exit_step,
    part_of,
)

MANAGER = Abi.load("NonfungiblePositionManager")
V3_POOL = Abi.load("UniswapV3Pool")
ROUTER = Abi.load("UniswapV2Router02")
PAIR = Abi.load("UniswapV2Pair")
MEAN_S = 1_800  # half an hour of the pool's own observations
_ALL = 2**128 - 1
_COLLECT = "collect"


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Exit:
    """AccountAdapter over one position of Uniswap v3."""

    reader: ChainReader
    account: str
    manager: str
    token_id: int
    pool: str
    pair: ExitPair

    @property
    def name(self) -> str:
        return f"v3:{self.token_id}"

    @property
    def least_gas_ceiling(self) -> int:
        return EXIT_GAS_CEILING

    def permissions(self) -> tuple[Permission, ...]:
        """Decrease with at least one floor (out of range the other is nothing), collect to ourselves."""
        target = self.manager.lower()
        decrease = MANAGER.function("decreaseLiquidity").signature
        floors = [
            CallRule(
                target=target,
                function=decrease,
                guard=Guard.BOUND,
                opens=False,
                least=(0, number),
                deadline=(0, 4),
            )
            for number in (2, 3)
        ]
        return (
            *floors,
            CallRule(
                target=target,
                function=MANAGER.function("collect").signature,
                guard=Guard.NO_MONEY,
                opens=False,
                recipients=((0, 1),),
            ),
            CallRule(
                target=target,
                function=MANAGER.function("burn").signature,
                guard=Guard.NO_MONEY,
                opens=False,
            ),
        )

    async def plan(
        self,
        order: AccountOrder,
        *,
        view: MarketView,
        head: Block,
    ) -> ExecutionPlan:
        """See ports.AccountAdapter. The pool's own mean price is the fair one."""
        position, at_x96, fair_x96 = await self._read(head)
        lower, upper, held = position[5:8]
        nothing = f"position {self.name} holds no liquidity to withdraw"
        liquidity = part_of(order, held, nothing=nothing)
        floors = self.pair.floors(
            liquidity,
            at_x96=at_x96,
            fair_x96=fair_x96,
            range_x96=(sqrt_ratio_x96(lower), sqrt_ratio_x96(upper)),
            name=self.name,
        )
        until_s = int(order.valid_until_s)
        decrease = MANAGER.encode("decreaseLiquidity", (self.token_id, liquidity, *floors, until_s))
        await self.reader.simulate(to=self.manager, data=decrease, block=head, sender=self.account)
        collect = MANAGER.encode("collect", (self.token_id, self.account, _ALL, _ALL))
        steps = [
            exit_step(WITHDRAW, to=self.manager, data=decrease),
            exit_step(_COLLECT, to=self.manager, data=collect, cleanup=True),
        ]
        if liquidity == held:
            burn = MANAGER.encode("burn", self.token_id)
            steps.append(exit_step("burn", to=self.manager, data=burn, cleanup=True))
        return self.pair.plan(order, steps, floors, view)

    def fact(self, order: AccountOrder, receipts: Mapping[str, Receipt]) -> AccountFact | None:
        """See ports.AccountAdapter. What was collected holds the fees too; without it, what was freed."""
        withdrawn = executed(receipts, WITHDRAW)
        if withdrawn is None:
            return None
        told = (("Collect", executed(receipts, _COLLECT)), ("DecreaseLiquidity", withdrawn))
        for name, receipt in told:
            for event in MANAGER.logs(name, receipt.logs if receipt else (), address=self.manager):
                if event["tokenId"] == self.token_id:
                    raw = (event["amount0"], event["amount1"])
                    return AccountFact(moved=self.pair.moved(raw), receipt=withdrawn)
        raise without_event(order.key, withdrawn)

    async def _read(self, head: Block) -> tuple[tuple[int, ...], int, int]:
        """Return the position, the pool's square root of price, and that of its mean over half an hour."""
        mean = Call(self.pool, V3_POOL.encode("observe", [MEAN_S, 0]), ("int56[]", "uint160[]"))
        calls = (
            MANAGER.call("positions", self.manager, self.token_id),
            MANAGER.call("ownerOf", self.manager, self.token_id),
            Call(self.pool, V3_POOL.encode("slot0"), ("uint160", "int24")),
            mean,
            V3_POOL.call("fee", self.pool),
        )
        position, owner, slot0, observed, fee = await self.reader.read(calls, block=head)
        if position is None or slot0 is None or fee is None:
            raise TransientError(f"position {self.name} could not be read at block {head.number}")
        check_owner(owner, self.account, self.name)
        tokens = tuple(token.address.lower() for token in self.pair.tokens)
        if position[2:5] != (*tokens, fee[0]):
            raise VenueRejected(f"position {self.name} is not in pool {self.pool}; nothing was sent")
        if observed is None:
            raise VenueRejected(
                f"pool {self.pool} keeps no {MEAN_S} s of observations: its fair price is not known and "
                "nothing is withdrawn by itself; raise its observation cardinality, or withdraw by hand"
            )
        ticks = observed[0]
        return position, int(slot0[0]), sqrt_ratio_x96((ticks[1] - ticks[0]) // MEAN_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class V2Exit:
    """AccountAdapter over LP tokens of one pair of Uniswap v2."""

    reader: ChainReader
    account: str
    router: str
    pool: str  # the pair's contract, which is its LP token
    label: str
    pair: ExitPair

    @property
    def name(self) -> str:
        return self.label

    @property
    def least_gas_ceiling(self) -> int:
        return EXIT_GAS_CEILING

    def permissions(self) -> tuple[Permission, ...]:
        rule = CallRule(
            target=self.router.lower(),
            function=ROUTER.function("removeLiquidity").signature,
            guard=Guard.BOUND,
            opens=False,
            recipients=((5,),),
            least=(3,),
            deadline=(6,),
        )
        return rule, ApprovalRule(token=self.pool.lower(), spender=self.router.lower(), opens=False)

    async def plan(self, order: AccountOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """See ports.AccountAdapter."""
        reserves, supply, held = await self._read(head)
        nothing = f"{self.account} holds no LP tokens of {self.label}"
        amount_raw = part_of(order, held, nothing=nothing)
        floors = self.pair.floors(
            math.isqrt(reserves[0] * reserves[1]) * amount_raw // supply,
            at_x96=math.isqrt(reserves[1] * 2**192 // reserves[0]),
            fair_x96=self.pair.price_of_feeds_x96(view, name=self.label),
            range_x96=(sqrt_ratio_x96(MIN_TICK), sqrt_ratio_x96(MAX_TICK)),
            name=self.label,
        )
        if not all(floors):
            raise VenueRejected(
                f"{self.label}: {amount_raw} raw LP tokens are worth nothing; nothing was sent"
            )
        tokens = (token.address for token in self.pair.tokens)
        until_s = int(order.valid_until_s)
        data = ROUTER.encode("removeLiquidity", *tokens, amount_raw, *floors, self.account, until_s)
        funded = FundedSender(self.reader)
        await funded.check(self.router, data, token=self.pool, owner=self.account, block=head)
        payment = Payment(
            token=self.pool, symbol="LP", decimals=18, spender=self.router, amount_raw=amount_raw
        )
        step = exit_step(WITHDRAW, to=self.router, data=data)
        return self.pair.plan(order, [step], floors, view, pays=(payment,))

    def fact(self, order: AccountOrder, receipts: Mapping[str, Receipt]) -> AccountFact | None:
        """See ports.AccountAdapter."""
        receipt = executed(receipts, WITHDRAW)
        if receipt is None:
            return None
        for event in PAIR.logs("Burn", receipt.logs, address=self.pool):
            if str(event["to"]).lower() == self.account.lower():
                raw = (event["amount0"], event["amount1"])
                return AccountFact(moved=self.pair.moved(raw), receipt=receipt)
        raise without_event(order.key, receipt)

    async def _read(self, head: Block) -> tuple[tuple[int, int], int, int]:
        calls = (
            PAIR.call("getReserves", self.pool),
            PAIR.call("totalSupply", self.pool),
            PAIR.call("balanceOf", self.pool, self.account),
        )
        rows = await self.reader.read(calls, block=head)
        if any(row is None for row in rows):
            raise TransientError(f"pair {self.label} could not be read at block {head.number}")
        reserves, supply, held = (row for row in rows if row is not None)
        if not (reserves[0] and reserves[1] and supply[0]):
            raise VenueRejected(f"pair {self.label} is empty; nothing was sent")
        return (reserves[0], reserves[1]), supply[0], held[0]
