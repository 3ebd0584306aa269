"""Takes liquidity out of Uniswap v2 and v3 (R29): whole or in part, never for less than a fair price gives.

The pool's own price can be moved within a block, and with it what a withdrawal pays. So the least amounts
come from a price that cannot: the pool's mean over half an hour (v3), or the price feeds of the view (v2,
and v4 in uniswap_v4_exit.py). Where the pool stands too far from that, nothing is withdrawn: it would be at
somebody else's price.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypedDict

from bot.chain.abi import Abi
from bot.errors import InvariantError, TransientError, VenueRejected
from bot.model.account_order import AccountFact, AccountOrder, Moved
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.ports import Call, ChainReader, MarketView
from bot.quant.ticks import amounts_in, sqrt_price_x96, sqrt_ratio_x96

MANAGER = Abi.load("NonfungiblePositionManager")
V3_POOL = Abi.load("UniswapV3Pool")
ROUTER = Abi.load("UniswapV2Router02")
PAIR = Abi.load("UniswapV2Pair")
EXIT_GAS_CEILING = 800_000
MEAN_S = 1_800  # half an hour of the pool's own observations
BPS = 10_000
_ALL = 2**128 - 1
_NARROWER = 12  # times the allowed deviation is halved for a range that is narrower than it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitToken:
    symbol: str
    address: str
    decimals: int
    is_stable: bool = False  # it counts 1 USD where no source has its price

    def price_usd(self, view: MarketView) -> float:
        """Return the price of a whole unit, NaN where it is not known."""
        par = 1.0 if self.is_stable else math.nan
        return view.spot_usd.get(self.symbol, view.stable_usd.get(self.symbol, par))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitLimits:
    """How far the pool may stand from the fair price, and what else may be lost."""

    max_deviation_bps: int = 200  # of the pool's price from the fair one
    slippage_bps: int = 50  # of each amount, on top


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Exit:
    """AccountAdapter over one position of Uniswap v3."""

    reader: ChainReader
    account: str
    manager: str
    token_id: int
    pool: str
    token0: ExitToken
    token1: ExitToken
    limits: ExitLimits = ExitLimits()

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
        position, at_x96, fair = await self._read(head)
        lower, upper, held = position[5:8]
        liquidity = held if order.part >= 1.0 else int(held * Fraction(order.part))
        if not liquidity:
            raise VenueRejected(f"position {self.name} holds no liquidity to withdraw; nothing was sent")
        check_price(at_x96, fair, self.limits, self.name)
        floors = least_amounts(
            liquidity,
            fair_x96=fair,
            range_x96=(sqrt_ratio_x96(lower), sqrt_ratio_x96(upper)),
            limits=self.limits,
        )
        if not any(floors):
            raise VenueRejected(
                f"position {self.name} is too small for a least amount to be asked; nothing was sent"
            )
        until_s = int(order.valid_until_s)
        decrease = MANAGER.encode("decreaseLiquidity", (self.token_id, liquidity, *floors, until_s))
        await self.reader.simulate(to=self.manager, data=decrease, block=head, sender=self.account)
        collect = MANAGER.encode("collect", (self.token_id, self.account, _ALL, _ALL))
        steps = [self._step("withdraw", decrease), self._step("collect", collect, cleanup=True)]
        if liquidity == held:
            steps.append(self._step("burn", MANAGER.encode("burn", self.token_id), cleanup=True))
        return ExecutionPlan(
            steps=tuple(steps),
            trade="withdraw",
            valid_until_s=order.valid_until_s,
            **asked_for((self.token0, self.token1), floors, view),
        )

    def fact(
        self,
        order: AccountOrder,
        receipts: Mapping[str, Receipt],
        *,
        view: MarketView,  # noqa: ARG002 - amounts, not worth
    ) -> AccountFact | None:
        withdrawn = receipts.get("withdraw")
        if withdrawn is None or not withdrawn.succeeded:
            return None
        collected = receipts.get("collect")
        for name, receipt in (("Collect", collected), ("DecreaseLiquidity", withdrawn)):
            if receipt is None or not receipt.succeeded:
                continue
            for event in MANAGER.logs(name, receipt.logs, address=self.manager):
                if event["tokenId"] == self.token_id:
                    raw = (event["amount0"], event["amount1"])
                    return AccountFact(moved=moved_of((self.token0, self.token1), raw), receipt=withdrawn)
        raise InvariantError(f"order {order.key}: {withdrawn.tx_hash} succeeded without its event")

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
        if owner is None or str(owner[0]).lower() != self.account.lower():
            whose = owner[0] if owner is not None else "nobody"
            raise VenueRejected(
                f"position {self.name} belongs to {whose}, this bot signs for {self.account}; "
                "nothing was sent"
            )
        tokens = (self.token0.address.lower(), self.token1.address.lower())
        if position[2:5] != (*tokens, fee[0]):
            raise VenueRejected(f"position {self.name} is not in pool {self.pool}; nothing was sent")
        if observed is None:
            raise VenueRejected(
                f"pool {self.pool} keeps no {MEAN_S} s of observations: its fair price is not known and "
                "nothing is withdrawn by itself; raise its observation cardinality, or withdraw by hand"
            )
        ticks = observed[0]
        return position, int(slot0[0]), sqrt_ratio_x96((ticks[1] - ticks[0]) // MEAN_S)

    def _step(self, purpose: str, data: bytes, *, cleanup: bool = False) -> OnchainTx:
        return OnchainTx(
            purpose=purpose, to=self.manager, data=data, gas_ceiling=EXIT_GAS_CEILING, cleanup=cleanup
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class V2Exit:
    """AccountAdapter over LP tokens of one pair of Uniswap v2."""

    reader: ChainReader
    account: str
    router: str
    pair: str
    label: str
    token0: ExitToken
    token1: ExitToken
    base_is_token0: bool
    underlying: str  # the base token, as the view's prices name it
    limits: ExitLimits = ExitLimits()

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
        return rule, ApprovalRule(token=self.pair.lower(), spender=self.router.lower(), opens=False)

    async def plan(self, order: AccountOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """See ports.AccountAdapter."""
        reserves, supply, held = await self._read(head)
        amount_raw = held if order.part >= 1.0 else int(held * Fraction(order.part))
        if not amount_raw:
            raise VenueRejected(f"{self.account} holds no LP tokens of {self.label}; nothing was sent")
        fair = price_of_feeds_x96(
            view,
            (self.token0, self.token1),
            base_is_token0=self.base_is_token0,
            underlying=self.underlying,
            name=self.label,
        )
        check_price(math.isqrt(reserves[1] * 2**192 // reserves[0]), fair, self.limits, self.label)
        liquidity = math.isqrt(reserves[0] * reserves[1]) * amount_raw // supply
        everywhere = (sqrt_ratio_x96(-887_272), sqrt_ratio_x96(887_272))
        floors = least_amounts(liquidity, fair_x96=fair, range_x96=everywhere, limits=self.limits)
        if not all(floors):
            raise VenueRejected(
                f"{self.label}: {amount_raw} raw LP tokens are worth nothing; nothing was sent"
            )
        tokens = (self.token0.address, self.token1.address)
        until_s = int(order.valid_until_s)
        data = ROUTER.encode("removeLiquidity", *tokens, amount_raw, *floors, self.account, until_s)
        payment = Payment(
            token=self.pair, symbol="LP", decimals=18, spender=self.router, amount_raw=amount_raw
        )
        step = OnchainTx(purpose="withdraw", to=self.router, data=data, gas_ceiling=EXIT_GAS_CEILING)
        return ExecutionPlan(
            steps=(step,),
            trade="withdraw",
            valid_until_s=order.valid_until_s,
            pays=(payment,),
            **asked_for((self.token0, self.token1), floors, view),
        )

    def fact(
        self,
        order: AccountOrder,
        receipts: Mapping[str, Receipt],
        *,
        view: MarketView,  # noqa: ARG002 - amounts, not worth
    ) -> AccountFact | None:
        receipt = receipts.get("withdraw")
        if receipt is None or not receipt.succeeded:
            return None
        for event in PAIR.logs("Burn", receipt.logs, address=self.pair):
            if str(event["to"]).lower() == self.account.lower():
                raw = (event["amount0"], event["amount1"])
                return AccountFact(moved=moved_of((self.token0, self.token1), raw), receipt=receipt)
        raise InvariantError(f"order {order.key}: {receipt.tx_hash} succeeded without its event")

    async def _read(self, head: Block) -> tuple[tuple[int, int], int, int]:
        calls = (
            PAIR.call("getReserves", self.pair),
            PAIR.call("totalSupply", self.pair),
            PAIR.call("balanceOf", self.pair, self.account),
        )
        rows = await self.reader.read(calls, block=head)
        if any(row is None for row in rows):
            raise TransientError(f"pair {self.label} could not be read at block {head.number}")
        reserves, supply, held = (row for row in rows if row is not None)
        if not (reserves[0] and reserves[1] and supply[0]):
            raise VenueRejected(f"pair {self.label} is empty; nothing was sent")
        return (reserves[0], reserves[1]), supply[0], held[0]


def price_of_feeds_x96(
    view: MarketView,
    tokens: tuple[ExitToken, ExitToken],
    *,
    base_is_token0: bool,
    underlying: str,
    name: str,
) -> int:
    """Return the square root of price that the view's feeds give a pool. Raises VenueRejected without one.

    A stable without a feed counts 1 USD: where it is off par the pool looks off, and nothing is withdrawn.
    """
    base, quote = tokens if base_is_token0 else tokens[::-1]
    price = view.spot_usd.get(underlying, math.nan) / quote.price_usd(view)
    if not 0.0 < price < math.inf:
        raise VenueRejected(
            f"{name}: no fair price of {base.symbol} in {quote.symbol} is known; nothing was sent"
        )
    raw = price * 10.0 ** (quote.decimals - base.decimals)
    return sqrt_price_x96(raw if base_is_token0 else 1.0 / raw)


def check_price(at_x96: int, fair_x96: int, limits: ExitLimits, name: str) -> None:
    """Raise VenueRejected where a pool's price is further from the fair one than allowed (REL-R13)."""
    gap = abs((at_x96 / fair_x96) ** 2 - 1.0)
    if not gap * BPS <= limits.max_deviation_bps:
        raise VenueRejected(
            f"{name}: the pool stands {gap:.2%} from its fair price, allowed are "
            f"{limits.max_deviation_bps / BPS:.2%}; nothing was sent: wait, or withdraw by hand"
        )


def least_amounts(
    liquidity: int, *, fair_x96: int, range_x96: tuple[int, int], limits: ExitLimits
) -> tuple[int, int]:
    """Return the least raw amounts of a withdrawal while the price stays within the allowed deviation.

    The one token shrinks as the price rises, the other as it falls, so each floor is that of its own end. In
    a range narrower than the deviation both are nothing: then a smaller one is asked for.
    """
    low_x96, high_x96 = range_x96
    share = limits.max_deviation_bps / BPS
    for _ in range(_NARROWER):
        root = math.sqrt(1.0 + share)
        above, below = int(fair_x96 * root), int(fair_x96 / root)
        amount0, _unused = amounts_in(liquidity, at_x96=above, low_x96=low_x96, high_x96=high_x96)
        _unused, amount1 = amounts_in(liquidity, at_x96=below, low_x96=low_x96, high_x96=high_x96)
        if amount0 or amount1:
            kept = BPS - limits.slippage_bps
            return amount0 * kept // BPS, amount1 * kept // BPS
        share /= 2.0
    return 0, 0


class AskedFor(TypedDict):
    least_usd: float
    because: str


def asked_for(tokens: tuple[ExitToken, ExitToken], floors: tuple[int, int], view: MarketView) -> AskedFor:
    """Return what a withdrawal asks for at least, in words and in USD; what has no price counts nothing."""
    found = moved_of(tokens, floors)
    worth = (item.units * token.price_usd(view) for item, token in zip(found, tokens, strict=True))
    return AskedFor(
        least_usd=sum(usd for usd in worth if math.isfinite(usd)),
        because=" and ".join(f"{item.units:,.6g} {item.asset}" for item in found),
    )


def moved_of(tokens: tuple[ExitToken, ExitToken], raw: tuple[int, int]) -> tuple[Moved, ...]:
    return tuple(
        Moved(asset=token.symbol, units=amount / 10**token.decimals)
        for token, amount in zip(tokens, raw, strict=True)
    )
