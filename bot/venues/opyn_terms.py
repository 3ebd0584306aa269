"""How Opyn Gamma is traded by this program, and the small values its adapter passes around.

An option is an ERC-20 (oToken, 8 decimals), bought and sold on Uniswap v3 against USDC, and redeemed at
Opyn's Controller after expiry: a put for USDC, a call for the underlying's token.
"""

from dataclasses import dataclass

from bot.chain.fees import FeePolicy
from bot.model.hedge import Instrument, OptionType
from bot.model.units import HOUR_S, USDC_DECIMALS, WAD_DECIMALS, from_fixed
from bot.ports import MarketView
from bot.venues.prices import Money, Prices, prices_of

OTOKEN_DECIMALS = 8  # of oTokens, strikes and oracle prices
_PREFIX = "otoken:"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynContracts:
    """Addresses of one Gamma system and of the Uniswap v3 that its oTokens trade on."""

    controller: str
    factory: str  # OtokenFactory
    v3_factory: str
    router: str  # SwapRouter
    quoter: str  # QuoterV2
    token: str  # USDC: strike asset, collateral of puts, and what oTokens are quoted in
    underlying_token: str  # WETH: underlying, and collateral of calls
    pricer: str = ""  # ChainLinkPricer of the underlying that may be told to push a price; "": we never push
    symbol: str = "USDC"
    decimals: int = USDC_DECIMALS
    underlying_symbol: str = "WETH"
    underlying_decimals: int = WAD_DECIMALS


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynGas:
    """Gas of each action."""

    buy: int = 400_000  # approval, swap, what is left of the approval revoked
    sell: int = 350_000
    redeem: int = 250_000
    push: int = 150_000  # of a price at expiry that nobody pushed

    @property
    def least_ceiling(self) -> int:
        return max(self.buy, self.sell, self.redeem, self.push) * 25 // 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynTerms:
    """How this venue is traded; nothing here is read from the chain."""

    name: str = "opyn"
    underlying: str = "ETH"
    option_types: tuple[OptionType, ...] = tuple(OptionType)
    fee_tiers: tuple[int, ...] = (500, 3_000, 10_000)  # of pools that are looked for, millionths
    lot: float = 0.01
    max_impact: float = (
        0.10  # of the average price over the pool's own, beyond which nothing counts as liquid
    )
    cutoff_s: float = 6 * HOUR_S  # nothing is bought this near to expiry
    cost_buffer_bps: int = 100  # over the quoted cost, never over the leg's limit
    quote_ttl_s: float = 900.0
    priority_fee_wei: int = 10**9  # tip that is expected
    tip_cap_wei: int = FeePolicy().tip_max_wei  # tip that is reserved
    gas: OpynGas = OpynGas()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The terms of one oToken, which never change. Addresses are lower case."""

    otoken: str
    collateral: str
    underlying: str
    strike_asset: str
    strike_raw: int  # 8 decimals, in the strike asset
    expiry_s: int
    is_put: bool

    @property
    def option_type(self) -> OptionType:
        return OptionType.PUT if self.is_put else OptionType.CALL


def instrument_of(series: Series, *, contracts: OpynContracts, terms: OpynTerms) -> Instrument:
    return Instrument(
        venue=terms.name,
        id=f"{_PREFIX}{series.otoken}",
        underlying=terms.underlying,
        option_type=series.option_type,
        strike_usd=from_fixed(series.strike_raw, decimals=OTOKEN_DECIMALS),
        expiry_s=series.expiry_s,
        settlement=contracts.symbol if series.is_put else contracts.underlying_symbol,
    )


def otoken_of(instrument: Instrument) -> str | None:
    """Return the address in "otoken:0x…", None for another venue's names."""
    head, _, address = instrument.id.partition(":")
    return address if f"{head}:" == _PREFIX and address else None


def money_of(contracts: OpynContracts, terms: OpynTerms) -> Money:
    return Money(
        settlement=contracts.symbol,
        stable=contracts.symbol,
        priority_fee_wei=terms.priority_fee_wei,
        tip_cap_wei=terms.tip_cap_wei,
    )


def prices_in(view: MarketView, *, contracts: OpynContracts, terms: OpynTerms) -> Prices:
    """Return the prices of a view that this venue's quotes and marks are made of."""
    return prices_of(view, money_of(contracts, terms), underlying=terms.underlying)


def collateral_usd(raw: int, series: Series, *, contracts: OpynContracts, prices: Prices) -> float:
    """Return what an amount of a series' collateral is worth."""
    if series.is_put:
        return from_fixed(raw, decimals=contracts.decimals) * prices.settlement_usd
    return from_fixed(raw, decimals=contracts.underlying_decimals) * prices.spot_usd
