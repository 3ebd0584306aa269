"""Compound v3 (Comet): rates, utilisation, idle liquidity, pauses and health factors (S2, S17, R21).

Rates are per second with 18 decimals (Comet.getSupplyRate, getBorrowRate). Comet has no health factor; as in
Comet.isLiquidatable it is the collateral at Comet's own prices times ``liquidateCollateralFactor``, here over
the debt. Base and collateral prices are in one unit: USD, or ETH in the WETH market.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.model.units import WAD_DECIMALS, YEAR_S
from bot.ports import Call, ChainReader
from bot.watchers.amounts import whole_units
from bot.watchers.lending import (
    NO_DEBT,
    Account,
    LendingToken,
    check_limits,
    check_names,
    plausible_apr,
)
from bot.watchers.pools import ERC20, from_raw
from bot.watchers.rows import BadRead, Rows, Unknown, need

COMET = Abi.load("Comet")
SOURCE = "compound_v3"
Action = Literal["supply", "transfer", "withdraw", "absorb", "buy"]
_ACTIONS: tuple[Action, ...] = get_args(Action)
_PAUSED_OF: dict[Action, str] = {action: f"is{action.capitalize()}Paused" for action in _ACTIONS}
_FACTOR_ONE = 10**18
_MOST_USED = 10 * _FACTOR_ONE  # more is lent than supplied where reserves were lent too
# Comet's own test rounds each term down and leaves out interest since the last accrual.
_CONTRADICTION = 1e-6
_INTEREST = 0.01  # more than that accrues in months
_METRICS = (Metric.SUPPLY_APR, Metric.BORROW_APR, Metric.UTILISATION, Metric.IDLE_UNITS, Metric.PAUSED)


class _Market(NamedTuple):
    """What the accounts of a market are valued with."""

    base_price: int
    base_scale: int
    assets: tuple[tuple[Any, ...], ...]  # AssetInfo
    prices: tuple[int, ...]  # one per asset


@dataclass(frozen=True, slots=True, kw_only=True)
class CompoundV3Watcher:
    """Watches one Comet and accounts in it.

    The subject of the market's series is ``<label>/<base symbol>``, that of a health factor the account's
    label. PAUSED is 1 when any of ``paused_actions`` is paused. An account without debt has the health 1e6;
    one without debt, collateral and base is unknown, likelier a mistyped address than a position.
    """

    label: str
    comet: Address
    base: LendingToken
    accounts: tuple[Account, ...] = ()
    paused_actions: tuple[Action, ...] = _ACTIONS
    highest_apr: float = 10.0

    def __post_init__(self) -> None:
        check_limits(f"Compound {self.label}", highest_apr=self.highest_apr)
        check_names(f"Compound {self.label}", tuple(account.label for account in self.accounts))
        wrong = sorted(set(self.paused_actions) - set(_ACTIONS))
        if wrong or not self.paused_actions:
            raise ConfigError(
                f"Compound {self.label}: paused_actions must be some of {_ACTIONS}, "
                f"were {self.paused_actions}"
            )

    @property
    def name(self) -> str:
        return f"compound_v3 {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (*self._market_keys, *self._account_keys)

    @property
    def _market_keys(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(metric, f"{self.label}/{self.base.symbol}", SOURCE) for metric in _METRICS)

    @property
    def _account_keys(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(Metric.HEALTH_FACTOR, item.label, SOURCE) for item in self.accounts)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            values = await self._market_values(chain, block)
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        found = [rows.row(key, value) for key, value in zip(self._market_keys, values, strict=True)]
        if not self.accounts:
            return found
        try:
            market = await self._market(chain, block)
        except BadRead as error:
            return found + rows.unknown(self._account_keys, str(error))
        return found + await self._account_rows(chain, block, rows, market)

    async def _market_values(self, chain: ChainReader, block: Block) -> tuple[float, ...]:
        """Return the values of ``_METRICS``. Raises BadRead."""
        calls = [
            *(COMET.call(name, self.comet) for name in ("baseToken", "baseScale", "getUtilization")),
            ERC20.call("totalSupply", self.comet),
            ERC20.call("balanceOf", self.base.address, self.comet),
            *(COMET.call(_PAUSED_OF[action], self.comet) for action in self.paused_actions),
        ]
        token, scale, used, supplied, held, *paused = await chain.read(calls, block=block)
        what = f"Compound {self.label}"
        found_token = str(need(token, f"{what} baseToken of {self.comet}")[0])
        found_scale = need(scale, f"{what} baseScale")[0]
        if found_token.lower() != self.base.address.lower() or found_scale != 10**self.base.decimals:
            raise BadRead(
                f"{what} lends {found_token} with scale {found_scale}, "
                f"configured are {self.base.address} and 10^{self.base.decimals}"
            )
        if need(supplied, f"{what} totalSupply")[0] == 0:
            raise BadRead(f"{what} is empty: nothing is supplied")
        used_raw = need(used, f"{what} getUtilization")[0]
        if used_raw > _MOST_USED:
            raise BadRead(f"{what} is used to {used_raw / _FACTOR_ONE:.3g} of what is supplied")
        rates = await self._rates(chain, block, used_raw)
        is_paused = any(need(item, f"{what} pause flags")[0] for item in paused)
        idle = whole_units(held, self.base.decimals, f"{what} balance")
        return (*rates, from_raw(used_raw, WAD_DECIMALS), idle, float(is_paused))

    async def _rates(self, chain: ChainReader, block: Block, used_raw: int) -> tuple[float, ...]:
        """Return (supply, borrow) a year at the present utilisation."""
        names = ("getSupplyRate", "getBorrowRate")
        found = await chain.read([COMET.call(name, self.comet, used_raw) for name in names], block=block)
        return tuple(
            plausible_apr(
                from_raw(need(rate, f"Compound {self.label} {name}")[0], WAD_DECIMALS) * YEAR_S,
                self.highest_apr,
                f"Compound {self.label} {name}",
            )
            for name, rate in zip(names, found, strict=True)
        )

    async def _market(self, chain: ChainReader, block: Block) -> _Market:
        what = f"Compound {self.label}"
        names = ("numAssets", "baseTokenPriceFeed")
        count, feed = await chain.read([COMET.call(name, self.comet) for name in names], block=block)
        infos = await chain.read(
            [
                COMET.call("getAssetInfo", self.comet, place)
                for place in range(need(count, f"{what} numAssets")[0])
            ],
            block=block,
        )
        assets = tuple(need(info, f"{what} asset {place}")[0] for place, info in enumerate(infos))
        feeds = [need(feed, f"{what} baseTokenPriceFeed")[0], *(asset[2] for asset in assets)]
        found = await chain.read([COMET.call("getPrice", self.comet, item) for item in feeds], block=block)
        prices = [
            need(price, f"{what} price of feed {item}")[0] for item, price in zip(feeds, found, strict=True)
        ]
        if min(prices) <= 0 or any(asset[3] == 0 for asset in assets):
            raise BadRead(f"{what}: prices {prices} and scales of its assets must all be > 0")
        return _Market(prices[0], 10**self.base.decimals, assets, tuple(prices[1:]))

    async def _account_rows(
        self, chain: ChainReader, block: Block, rows: Rows, market: _Market
    ) -> list[Observation]:
        calls = [call for account in self.accounts for call in self._account_calls(account, market)]
        found = await chain.read(calls, block=block)
        width = len(calls) // len(self.accounts)
        result = []
        for place, (key, account) in enumerate(zip(self._account_keys, self.accounts, strict=True)):
            answers = found[place * width : (place + 1) * width]
            try:
                value: float | Unknown = self._health(account, market, answers)
            except BadRead as error:
                value = Unknown(str(error))
            result.append(rows.row(key, value))
        return result

    def _account_calls(self, account: Account, market: _Market) -> list[Call]:
        names = ("borrowBalanceOf", "balanceOf", "isLiquidatable")
        return [
            *(COMET.call(name, self.comet, account.address) for name in names),
            *(COMET.call("userCollateral", self.comet, account.address, info[1]) for info in market.assets),
        ]

    def _health(self, account: Account, market: _Market, answers: Sequence[tuple[Any, ...] | None]) -> float:
        what = f"Compound {self.label} {account.label}"
        debt_raw, supplied_raw, liquidatable, *held = (need(item, what)[0] for item in answers)
        if debt_raw == 0:
            if supplied_raw == 0 and not any(held):
                raise BadRead(f"{account.address} has no position in {self.label}; check the address")
            return NO_DEBT
        backing = sum(
            balance * price * info[5] // (info[3] * _FACTOR_ONE)
            for balance, price, info in zip(held, market.prices, market.assets, strict=True)
        )
        debt = debt_raw * market.base_price / market.base_scale
        health = float(min(backing / debt, NO_DEBT))
        if liquidatable and health > 1.0 + _CONTRADICTION:
            raise BadRead(f"{what} can be liquidated, yet its health comes out as {health:.6f}")
        if not liquidatable and health < 1.0 - _INTEREST:
            raise BadRead(f"{what} cannot be liquidated, yet its health comes out as {health:.6f}")
        return health
