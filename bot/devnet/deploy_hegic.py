"""Hegic Herge in its reference contracts: puts and calls on ETH, four moneyness levels and spans.

Premiums follow a polynomial of the period, fitted here to Black-Scholes at the spot and vol of the deployment
with a seller's margin: as on the real venue they do not move with the market until the owner sets others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from bot.devnet.boards import DAY_S
from bot.devnet.deploy_bench import Bench, Contract
from bot.model.units import YEAR_S
from bot.quant import options

SPANS_DAYS = ((7, 14), (14, 30), (30, 60), (60, 90))  # suffix 1 to 4 of a strategy's name
MONEYNESS = {True: (100, 90, 80, 70), False: (100, 110, 120, 130)}  # is_put -> strike over spot, per cent
TREASURY_USDC, COVER_USDC = 2_000_000, 1_000_000
LIMIT_USDC = 300_000  # that one strategy may lock

_VOL = 0.90
_MARGIN, _LEAST_USD = 1.08, 2.0  # of premium over model; the second covers what the fit is off at 7 days
_COEFFICIENT_SCALE = 10**24
_SPOT_DECIMALS = 18
_COVER_PRICE = 10**30 // 10**12 // 50  # USDC units for one of HEGIC's 1e18, times 1e30: 0.02 USD


@dataclass(frozen=True, slots=True, kw_only=True)
class HegicKind:
    """What the strategies of one price calculator have in common."""

    is_put: bool
    moneyness_percent: int

    @property
    def name(self) -> str:
        return f"{'PUT' if self.is_put else 'CALL'}_{self.moneyness_percent}_ETH"


@dataclass(frozen=True, kw_only=True)
class Hegic:
    """The contracts of one Herge system. The deployer owns them; ``payoff_pool`` backs the cover pool."""

    treasury: Contract
    manager: Contract
    cover_pool: Contract
    limits: Contract
    strategies: dict[str, Contract]  # "PUT_90_ETH_2" -> strategy
    calculators: dict[str, Contract]  # "PUT_90_ETH" -> its premium
    payoff_pool: str


async def deploy_hegic(
    bench: Bench,
    *,
    usdc: Contract,
    feed: str,
    payoff_pool: str,
    spot_usd: float,
    exercise_window_s: int = 0,
) -> Hegic:
    """Deploy, wire and fund the system, priced for ``spot_usd``."""
    manager = await bench.deploy_own("reference/HegicHergePositionsManager")
    cover = await _cover_pool(bench, usdc, payoff_pool)
    treasury = await bench.deploy_own(
        "reference/HegicHergeOperationalTreasury", usdc.address, manager.address, 90 * DAY_S, cover.address, 0
    )
    await manager.send("setPool", treasury.address)
    await cover.send("setTreasury", treasury.address)
    await usdc.send("mint", treasury.address, TREASURY_USDC * 10**6)
    hegic = Hegic(
        treasury=treasury,
        manager=manager,
        cover_pool=cover,
        limits=await bench.deploy_own("reference/HegicHergeLimitController"),
        strategies={},
        calculators={},
        payoff_pool=payoff_pool,
    )
    for is_put, levels in MONEYNESS.items():
        for level in levels:
            kind = HegicKind(is_put=is_put, moneyness_percent=level)
            await add_kind(hegic, kind, feed=feed, spot_usd=spot_usd, exercise_window_s=exercise_window_s)
    return hegic


async def add_kind(
    hegic: Hegic, kind: HegicKind, *, feed: str, spot_usd: float, exercise_window_s: int = 0
) -> None:
    """Deploy one price calculator and a strategy for each span of periods, and sell their options."""
    bench = hegic.treasury.bench
    coefficients = premium_coefficients(kind, spot_usd=spot_usd)
    calculator = await bench.deploy_own("reference/HegicHergePriceCalculator", coefficients, _SPOT_DECIMALS)
    await calculator.send("setPeriodLimits", SPANS_DAYS[0][0] * DAY_S, SPANS_DAYS[-1][1] * DAY_S)
    hegic.calculators[kind.name] = calculator
    for number, span in enumerate(SPANS_DAYS, 1):
        strategy = await bench.deploy_own(
            "reference/HegicHergeStrategy",
            kind.is_put,
            feed,
            calculator.address,
            LIMIT_USDC * 10**6,
            _SPOT_DECIMALS,
            kind.moneyness_percent * 100,
            [days * DAY_S for days in span],
            exercise_window_s,
            hegic.limits.address,
        )
        await hegic.treasury.send("connectStrategy", strategy.address)
        hegic.strategies[f"{kind.name}_{number}"] = strategy


def premium_coefficients(
    kind: HegicKind, *, spot_usd: float, vol: float = _VOL, times: float = 1.0
) -> list[int]:
    """Coefficients, by power of the period in seconds, of the premium of one ETH in units of USDC times 1e24.

    A polynomial of degree four through marked-up Black-Scholes values, ``times`` dear, at Chebyshev points
    of 7 to 90 days.
    """
    first_s, last_s = SPANS_DAYS[0][0] * DAY_S, SPANS_DAYS[-1][1] * DAY_S
    middle, half = (first_s + last_s) / 2, (last_s - first_s) / 2
    periods_s = middle + half * np.cos(np.pi * (2 * np.arange(5) + 1) / 10)
    strike = spot_usd * kind.moneyness_percent / 100
    values = options.price(spot_usd, strike, periods_s / YEAR_S, vol, is_put=kind.is_put)
    premiums = times * (_MARGIN * values + _LEAST_USD)
    fitted = Chebyshev.fit(periods_s, premiums * 1e6, 4, domain=[first_s, last_s])
    powers = fitted.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef
    found = [round(float(power) * _COEFFICIENT_SCALE) for power in powers]
    return [*found, *[0] * (5 - len(found))]  # the highest are left out where they are 0


async def _cover_pool(bench: Bench, usdc: Contract, payoff_pool: str) -> Contract:
    """The cover pool, with an allowance of what the payoff pool holds for it."""
    amount = COVER_USDC * 10**6
    cover_tokens = amount * 10**30 // _COVER_PRICE
    cover = await bench.deploy_own(
        "reference/HegicHergeCoverPool", usdc.address, payoff_pool, _COVER_PRICE, cover_tokens
    )
    await usdc.send("mint", payoff_pool, amount)
    await usdc.send("approve", cover.address, amount, sender=payoff_pool)
    return cover
