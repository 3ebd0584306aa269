"""How Opyn Gamma is traded by this program, and the small values its adapter passes around.

An option is an ERC-20 (oToken, 8 decimals), bought and sold on Uniswap v3 against USDC, and redeemed at
Opyn's Controller after expiry: a put for USDC, a call for the underlying's token.
"""

from dataclasses import dataclass

from bot.model.hedge import Instrument, OptionType
from bot.model.units import HOUR_S, USDC_DECIMALS, WAD_DECIMALS, from_fixed
from bot.venues.option_terms import OptionGas, OptionTerms
from bot.venues.prices import Prices

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
    otokens: tuple[str, ...] = ()  # that the account got otherwise than by a signed purchase, and may sell
    symbol: str = "USDC"
    decimals: int = USDC_DECIMALS
    underlying_symbol: str = "WETH"
    underlying_decimals: int = WAD_DECIMALS


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynGas(OptionGas):
    buy: int = 400_000  # approval, swap, what is left of the approval revoked
    sell: int = 350_000
    redeem: int = 250_000
    push: int = 150_000  # of a price at expiry that nobody pushed


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynTerms(OptionTerms):
    """How this venue is traded."""

    name: str = "opyn"
    fee_tiers: tuple[int, ...] = (500, 3_000, 10_000)  # of pools that are looked for, millionths
    max_impact: float = 0.10  # of the average price over the pool's own: beyond it nothing counts as liquid
    cutoff_s: float = 6 * HOUR_S  # nothing is bought this near to expiry
    cost_buffer_bps: int = 100  # over the quoted cost, never over the leg's limit
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


def collateral_usd(raw: int, series: Series, *, contracts: OpynContracts, prices: Prices) -> float:
    """Return what an amount of a series' collateral is worth."""
    if series.is_put:
        return from_fixed(raw, decimals=contracts.decimals) * prices.settlement_usd
    return from_fixed(raw, decimals=contracts.underlying_decimals) * prices.spot_usd
