"""What is read of Perp v2 (curie): one market, and one account in it, at a pinned block.

Units: prices, sizes and account values have 18 decimals, collateral has those of its token, ratios 6. A
funding payment is positive where the trader pays (Exchange.sol). The account is one cross-margined balance:
where it holds other markets too, what those need is taken off before the price of liquidation is worked out.
"""

import math
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.market import Block
from bot.model.units import DAY_S, WAD_DECIMALS, YEAR_S, from_fixed
from bot.ports import Call, ChainReader

HOUSE = Abi.load("ClearingHouse")
VAULT = Abi.load("Vault")
BALANCE = Abi.load("AccountBalance")
EXCHANGE = Abi.load("Exchange")
BASE_TOKEN = Abi.load("BaseToken")
CONFIG = Abi.load("ClearingHouseConfig")
_RATIO_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpV2Contracts:
    """Addresses of one deployment and one of its markets."""

    clearing_house: str
    vault: str
    account_balance: str
    exchange: str
    config: str
    base_token: str  # the market
    collateral: str  # the settlement token that margin is paid in


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketState:
    """One market at one block."""

    mark_usd: float
    funding_apr: float  # positive: a long pays; NaN while the pool is too young to know
    initial_margin: float  # fraction of notional
    maintenance_margin: float
    symbol: str  # of the base token
    collateral: str  # settlement token of the vault, lower case
    closed: str  # why nothing can be traded, "" when trading is possible
    over_spread: bool  # the mark is off the index by more than the market allows: reduce only


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """One account at one block. Money is the venue's dollars."""

    size: float
    size_raw: int
    open_notional: float  # signed: received for a short, fees taken off
    value: float  # of the account, everything in it
    other_need: float  # maintenance margin of what it holds in other markets
    unrealised: float
    funding: float  # pending: received, negative owed
    free_raw: int  # collateral that can be withdrawn now
    balance_raw: int

    @property
    def entry_usd(self) -> float:
        """Return the mean price of one unit; fees are in it."""
        return -self.open_notional / self.size if self.size else math.nan

    @property
    def margin(self) -> float:
        """Return the collateral, what open positions gained, lost or owe left out."""
        return self.value - self.unrealised - self.funding

    def liquidation_usd(self, market: MarketState) -> float:
        """Return the mark at which the account's value is its maintenance margin; NaN without a position.

        value + size (L - mark) = maintenance |size| L + what other markets need. 0 for a long that no fall of
        the price liquidates.
        """
        if not self.size:
            return math.nan
        own = self.value - self.other_need - self.size * market.mark_usd
        return max(own / (abs(self.size) * market.maintenance_margin - self.size), 0.0)


class PerpV2Reads:
    """Reads of one market."""

    def __init__(self, reader: ChainReader, contracts: PerpV2Contracts, *, twap_s: int) -> None:
        self._reader, self.contracts, self._twap_s = reader, contracts, twap_s

    async def market(self, block: Block) -> MarketState:
        """Raises TransientError where the market cannot be read, VenueRejected where its contracts differ."""
        at = self.contracts
        rows = await self._reader.read(self._market_calls(), block=block)
        *needed, market_twap, over = rows
        values = [self._one(row, block) for row in needed]
        (paused, mark, im, mm, interval, most, symbol, is_open, is_paused, token, index) = values
        if interval != self._twap_s:
            raise VenueRejected(f"Perp v2 funds on a TWAP of {interval} s, configured is {self._twap_s} s")
        closed = ""
        if paused:
            closed = f"the clearing house {at.clearing_house} is paused"
        elif not is_open:
            closed = f"the market of {symbol} is {'paused' if is_paused else 'closed'}"
        return MarketState(
            mark_usd=from_fixed(mark, decimals=WAD_DECIMALS),
            funding_apr=_funding_apr(market_twap, index, most),
            initial_margin=from_fixed(im, decimals=_RATIO_DECIMALS),
            maintenance_margin=from_fixed(mm, decimals=_RATIO_DECIMALS),
            symbol=symbol,
            collateral=token,
            closed=closed,
            over_spread=over is None or bool(over[0]),
        )

    def _market_calls(self) -> list[Call]:
        at = self.contracts
        return [
            HOUSE.call("paused", at.clearing_house),
            BALANCE.call("getMarkPrice", at.account_balance, at.base_token),
            CONFIG.call("getImRatio", at.config),
            CONFIG.call("getMmRatio", at.config),
            CONFIG.call("getTwapInterval", at.config),
            CONFIG.call("getMaxFundingRate", at.config),
            BASE_TOKEN.call("symbol", at.base_token),
            BASE_TOKEN.call("isOpen", at.base_token),
            BASE_TOKEN.call("isPaused", at.base_token),
            VAULT.call("getSettlementToken", at.vault),
            BASE_TOKEN.call("getIndexPrice", at.base_token, self._twap_s),
            EXCHANGE.call("getSqrtMarketTwapX96", at.exchange, at.base_token, self._twap_s),
            EXCHANGE.call("isOverPriceSpread", at.exchange, at.base_token),
        ]

    async def account(self, owner: str, market: MarketState, block: Block) -> AccountState:
        """Raises TransientError where the account cannot be read: that is never an empty one."""
        at = self.contracts
        calls = [
            BALANCE.call("getTotalPositionSize", at.account_balance, owner, at.base_token),
            BALANCE.call("getTakerOpenNotional", at.account_balance, owner, at.base_token),
            BALANCE.call("getTotalPositionValue", at.account_balance, owner, at.base_token),
            HOUSE.call("getAccountValue", at.clearing_house, owner),
            BALANCE.call("getMarginRequirementForLiquidation", at.account_balance, owner),
            BALANCE.call("getPnlAndPendingFee", at.account_balance, owner),
            EXCHANGE.call("getAllPendingFundingPayment", at.exchange, owner),
            VAULT.call("getFreeCollateral", at.vault, owner),
            VAULT.call("getBalance", at.vault, owner),
        ]
        rows = await self._reader.read(calls, block=block)
        size, notional, value, worth, need, _, funding, free, balance = (
            self._one(row, block) for row in rows
        )
        pnl = rows[5]
        own_need = abs(_wad(value)) * market.maintenance_margin
        return AccountState(
            size=_wad(size),
            size_raw=size,
            open_notional=_wad(notional),
            value=_wad(worth),
            other_need=max(_wad(need) - own_need, 0.0),
            unrealised=_wad(pnl[1]) if pnl is not None else math.nan,
            funding=-_wad(funding),
            free_raw=free,
            balance_raw=balance,
        )

    def _one(self, row: tuple[Any, ...] | None, block: Block) -> Any:
        if row is None:
            raise TransientError(
                f"Perp v2 at {self.contracts.clearing_house} could not be read at block {block.number}"
            )
        return row[0]


def _funding_apr(twap: tuple[Any, ...] | None, index_raw: int, most_raw: int) -> float:
    """Return (market TWAP - index TWAP) / index a day, held within the maximum, as a rate a year."""
    if twap is None or not index_raw:  # a young pool does not remember so far back
        return math.nan
    index = from_fixed(index_raw, decimals=WAD_DECIMALS)
    limit = from_fixed(most_raw, decimals=_RATIO_DECIMALS)
    day_rate = (twap[0] / 2**96) ** 2 / index - 1.0  # base and quote both have 18 decimals
    return float(min(max(day_rate, -limit), limit) * YEAR_S / DAY_S)


def _wad(raw: int) -> float:
    return from_fixed(raw, decimals=WAD_DECIMALS)
