"""Uniswap v2 and v3: swaps that end exactly at a price, and the whale's liquidity."""

from dataclasses import dataclass
from math import isqrt

from bot.devnet.deployment import Deployment
from bot.devnet.moves.wire import Tx, View, calldata
from bot.errors import InvariantError

NEVER = 2**40  # deadline
UNLIMITED = 2**256 - 1
_ENOUGH = 2**120  # more than any swap takes: the price limit ends it
_MAX_UINT128 = 2**128 - 1
_PRICE_SCALE = 10**10
_V2_FEE_LEFT, _V2_FEE_OF = 997, 1000
SLOT0 = "slot0()"
SLOT0_OUTPUTS = ("uint160", "int24", "uint16", "uint16", "uint16", "uint8", "bool")
_POSITION_OUTPUTS = (
    "uint96", "address", "address", "address", "uint24", "int24", "int24",
    "uint128", "uint256", "uint256", "uint128", "uint128",
)  # fmt: skip
_EXACT_INPUT = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Market:
    """One v3 pool as a market of ``unit`` priced in ``pricing``."""

    name: str
    pool: str
    fee: int
    unit: str
    unit_decimals: int
    pricing: str
    pricing_decimals: int

    @property
    def is_unit_token0(self) -> bool:
        return int(self.unit, 16) < int(self.pricing, 16)

    def sqrt_price_x96(self, price: float) -> int:
        """Return the pool's square-root price at which one unit costs ``price``, exact to 1e-10 of it."""
        scaled = round(price * _PRICE_SCALE)
        unit, pricing = 10**self.unit_decimals * _PRICE_SCALE, scaled * 10**self.pricing_decimals
        amount0, amount1 = (unit, pricing) if self.is_unit_token0 else (pricing, unit)
        return isqrt((amount1 << 192) // amount0)

    def swap(self, deployment: Deployment, *, sqrt_now: int, price: float) -> list[Tx]:
        """Return the swap that ends at ``price``; none when the pool is there already."""
        limit = self.sqrt_price_x96(price)
        if limit == sqrt_now:
            return []
        sells_token0 = limit < sqrt_now
        sells_unit = sells_token0 == self.is_unit_token0
        path = (self.unit, self.pricing) if sells_unit else (self.pricing, self.unit)
        call = (*path, self.fee, deployment.trader, NEVER, _ENOUGH, 0, limit)
        return [
            Tx(
                purpose=f"swap in {self.name} to {price}",
                sender=deployment.trader,
                to=deployment.v3_router,
                data=calldata(_EXACT_INPUT, call),
                gas=3_000_000,
            )
        ]


def eth_market(deployment: Deployment, *, fee: int = 500) -> V3Market:
    """WETH/USDC."""
    return V3Market(
        name="v3 WETH/USDC", pool=deployment.v3_pool, fee=fee,
        unit=deployment.weth, unit_decimals=18, pricing=deployment.usdc, pricing_decimals=6,
    )  # fmt: skip


def stable_market(deployment: Deployment) -> V3Market:
    """sUSD priced in USDC."""
    return V3Market(
        name="v3 sUSD/USDC", pool=deployment.stable_pool, fee=deployment.stable_pool_fee,
        unit=deployment.susd, unit_decimals=18, pricing=deployment.usdc, pricing_decimals=6,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class V2State:
    """The pair, in whole tokens' raw units."""

    weth_raw: int
    usdc_raw: int
    supply: int
    whale_lp: int


def v2_views(deployment: Deployment) -> list[View]:
    return [
        View(deployment.v2_pair, "getReserves()", (), ("uint112", "uint112", "uint32")),
        View(deployment.v2_pair, "totalSupply()", (), ("uint256",)),
        View(deployment.v2_pair, "balanceOf(address)", (deployment.whale,), ("uint256",)),
    ]


def v2_state(deployment: Deployment, answers: list[tuple[int, ...]]) -> V2State:
    (reserve0, reserve1, _), (supply,), (whale_lp,) = answers
    is_weth0 = int(deployment.weth, 16) < int(deployment.usdc, 16)
    weth, usdc = (reserve0, reserve1) if is_weth0 else (reserve1, reserve0)
    return V2State(weth_raw=weth, usdc_raw=usdc, supply=supply, whale_lp=whale_lp)


def v2_amount_in(reserve_in: int, reserve_out: int, *, price_in: int, price_out: int) -> int:
    """Return what to sell into a v2 pair so that ``price_in`` of the sold token then equals ``price_out``.

    After a sale of x, (reserve_in + x) / reserve_out' = price_in / price_out, with the 0.3 % fee in
    reserve_out' = 1000 reserve_in reserve_out / (1000 reserve_in + 997 x). Positive root, rounded down.
    0 when the pair is at or past that price.
    """
    k = _V2_FEE_OF * reserve_in * reserve_out * price_in // price_out
    a, b = _V2_FEE_LEFT, (_V2_FEE_OF + _V2_FEE_LEFT) * reserve_in
    c = _V2_FEE_OF * reserve_in * reserve_in - k
    if c >= 0:
        return 0
    return (isqrt(b * b - 4 * a * c) - b) // (2 * a)


def v2_swap(deployment: Deployment, state: V2State, *, price: float) -> list[Tx]:
    """Return the swap that brings the pair to ``price`` USDC per WETH; none when it is there."""
    usdc_per_weth = (round(price * _PRICE_SCALE) * 10**6, _PRICE_SCALE * 10**18)
    weth, usdc = (deployment.weth, state.weth_raw), (deployment.usdc, state.usdc_raw)
    for sold, bought, ratio in ((weth, usdc, usdc_per_weth[::-1]), (usdc, weth, usdc_per_weth)):
        amount = v2_amount_in(sold[1], bought[1], price_in=ratio[0], price_out=ratio[1])
        if amount:
            call = (amount, 0, [sold[0], bought[0]], deployment.trader, NEVER)
            signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
            return [_v2_tx(deployment, deployment.trader, f"swap in v2 to {price}", signature, call)]
    return []


def v2_liquidity(deployment: Deployment, state: V2State, *, target_supply: int) -> tuple[list[Tx], V2State]:
    """Return what brings the pair's LP supply to ``target_supply``, and the state after it."""
    change = target_supply - state.supply
    pair = (deployment.weth, deployment.usdc)
    weth, usdc = (abs(change) * reserve // state.supply for reserve in (state.weth_raw, state.usdc_raw))
    if weth == 0 or usdc == 0:
        return [], state
    if change < 0:
        _refuse_overdraw("v2", -change, state.whale_lp)
        signature = "removeLiquidity(address,address,uint256,uint256,uint256,address,uint256)"
        call: tuple[object, ...] = (*pair, -change, 0, 0, deployment.whale, NEVER)
        after = (state.weth_raw - weth, state.usdc_raw - usdc)
    else:
        signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
        call = (*pair, weth, _quote(weth, state), 0, 0, deployment.whale, NEVER)
        after = (state.weth_raw + weth, state.usdc_raw + _quote(weth, state))
    what = f"v2 liquidity {change:+d} by the whale"
    moved = V2State(
        weth_raw=after[0], usdc_raw=after[1], supply=target_supply, whale_lp=state.whale_lp + change
    )
    return [_v2_tx(deployment, deployment.whale, what, signature, call)], moved


def _quote(weth_raw: int, state: V2State) -> int:
    return weth_raw * state.usdc_raw // state.weth_raw


def _v2_tx(deployment: Deployment, sender: str, purpose: str, signature: str, call: tuple[object, ...]) -> Tx:
    return Tx(
        purpose=purpose, sender=sender, to=deployment.v2_router, data=calldata(signature, *call), gas=500_000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Position:
    """A v3 position NFT."""

    token0: str
    token1: str
    fee: int
    lower_tick: int
    upper_tick: int
    liquidity: int


def position_view(deployment: Deployment, token_id: int) -> View:
    return View(deployment.v3_position_manager, "positions(uint256)", (token_id,), _POSITION_OUTPUTS)


def v3_position(answer: tuple[object, ...]) -> V3Position:
    _, _, token0, token1, fee, lower, upper, liquidity, *_ = answer
    return V3Position(
        token0=str(token0), token1=str(token1), fee=int(str(fee)), lower_tick=int(str(lower)),
        upper_tick=int(str(upper)), liquidity=int(str(liquidity)),
    )  # fmt: skip


def v3_liquidity(deployment: Deployment, position: V3Position, *, change: int, sqrt_now: int) -> list[Tx]:
    """Return what changes the whale's v3 position by ``change`` of liquidity; withdrawals are collected."""
    token_id = deployment.whale_v3_token_id
    if change == 0:
        return []
    if change < 0:
        _refuse_overdraw("v3", -change, position.liquidity)
        decrease = (
            "decreaseLiquidity((uint256,uint128,uint256,uint256,uint256))",
            (token_id, -change, 0, 0, NEVER),
        )
        collect = (
            "collect((uint256,address,uint128,uint128))",
            (token_id, deployment.whale, _MAX_UINT128, _MAX_UINT128),
        )
        return [
            _v3_tx(deployment, f"v3 liquidity {change:+d} by the whale", *each)
            for each in (decrease, collect)
        ]
    amounts = _amounts(position, change, sqrt_now)
    increase = "increaseLiquidity((uint256,uint256,uint256,uint256,uint256,uint256))"
    call = (token_id, *amounts, 0, 0, NEVER)
    return [_v3_tx(deployment, f"v3 liquidity {change:+d} by the whale", increase, call)]


def _amounts(position: V3Position, liquidity: int, sqrt_now: int) -> tuple[int, int]:
    """Return (token0, token1) that hold ``liquidity`` at the pool's price, rounded up (v3 whitepaper 6.2)."""
    low, high = (isqrt(_ratio_x192(tick)) for tick in (position.lower_tick, position.upper_tick))
    at = min(max(sqrt_now, low), high)
    amount0 = (liquidity << 96) * (high - at) // (at * high) + 1
    amount1 = (liquidity * (at - low) >> 96) + 1
    return amount0, amount1


def _ratio_x192(tick: int) -> int:
    """Return 1.0001 ** tick in Q192, to about 1e-15 of it: enough for amounts that are asked for."""
    return int(1.0001**tick * 2**96) << 96


def _v3_tx(deployment: Deployment, purpose: str, signature: str, call: tuple[object, ...]) -> Tx:
    return Tx(
        purpose=purpose,
        sender=deployment.whale,
        to=deployment.v3_position_manager,
        data=calldata(signature, call),
        gas=700_000,
    )


def _refuse_overdraw(pool: str, wanted: int, held: int) -> None:
    if wanted > held:
        raise InvariantError(f"the whale cannot withdraw {wanted} of {pool} liquidity, it holds {held}")
