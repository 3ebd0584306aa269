"""Option venues beside Lyra, one section each: which contracts, and how they are traded."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.hedge import OptionType
from bot.model.units import HOUR_S
from bot.settings.part import Part
from bot.venues.hegic_terms import HegicContracts, HegicStrategy, HegicTerms
from bot.venues.nexus_terms import NexusContracts, NexusTerms
from bot.venues.opyn_terms import OpynContracts, OpynTerms
from bot.venues.panoptic_terms import PanopticContracts, PanopticTerms


class OpynSettings(Part):
    """``[opyn]``: Opyn Gamma, and the Uniswap v3 that its oTokens trade on."""

    underlying: str = "ETH"
    controller: Address
    factory: Address  # OtokenFactory
    v3_factory: Address
    swap_router: Address
    quoter: Address  # QuoterV2
    stable: Address  # strike asset, and what oTokens are quoted in
    stable_symbol: str = "USDC"
    stable_decimals: int = Field(default=6, ge=0, le=36)
    underlying_token: Address
    underlying_symbol: str = "WETH"
    underlying_decimals: int = Field(default=18, ge=0, le=36)
    pricer: Address | None = None  # ChainLinkPricer of the underlying: told to push a price nobody pushed
    otokens: tuple[Address, ...] = ()  # got otherwise than by the bot, which it may sell
    fee_tiers: tuple[int, ...] = Field(default=(500, 3_000, 10_000), min_length=1)  # of pools, millionths
    max_impact: float = Field(default=0.10, gt=0.0, le=0.5)  # on a pool's price, as a fraction of it
    cutoff_s: float = Field(default=6 * HOUR_S, ge=0.0)  # nothing is bought this near to expiry
    cost_buffer_bps: int = Field(default=100, ge=1, le=1_000)

    @property
    def contracts(self) -> OpynContracts:
        return OpynContracts(
            controller=self.controller,
            factory=self.factory,
            v3_factory=self.v3_factory,
            router=self.swap_router,
            quoter=self.quoter,
            token=self.stable,
            underlying_token=self.underlying_token,
            pricer=self.pricer or "",
            otokens=self.otokens,
            symbol=self.stable_symbol,
            decimals=self.stable_decimals,
            underlying_symbol=self.underlying_symbol,
            underlying_decimals=self.underlying_decimals,
        )

    def terms(self, option_types: Sequence[OptionType]) -> OpynTerms:
        return OpynTerms(
            underlying=self.underlying,
            option_types=tuple(option_types),
            fee_tiers=self.fee_tiers,
            max_impact=self.max_impact,
            cutoff_s=self.cutoff_s,
            cost_buffer_bps=self.cost_buffer_bps,
        )


class HegicSettings(Part):
    """``[hegic]``: Hegic Herge. ``strategies`` is its address book, each ``"0x…"`` or ``"@name"``."""

    underlying: str = "ETH"
    treasury: Address  # OperationalTreasury
    manager: Address  # PositionsManager
    cover_pool: Address
    stable: Address
    stable_symbol: str = "USDC"
    stable_decimals: int = Field(default=6, ge=0, le=36)
    strategies: dict[str, Address] = Field(min_length=1)
    # Before expiry an option in the money is exercised; a Safe needs time for its signatures.
    exercise_lead_s: float = Field(default=6 * HOUR_S, ge=600.0, le=7 * 24 * HOUR_S)
    max_strike_drift_bps: int = Field(default=100, ge=1, le=1_000)
    stress_move: float = Field(default=0.5, gt=0.0, lt=1.0)  # that the venue's funds must stand
    funds_share: float = Field(default=0.25, gt=0.0, le=1.0)  # of its free funds that it may come to owe us

    @property
    def contracts(self) -> HegicContracts:
        return HegicContracts(
            treasury=self.treasury,
            manager=self.manager,
            cover_pool=self.cover_pool,
            token=self.stable,
            strategies=tuple(HegicStrategy.of(name, address) for name, address in self.strategies.items()),
            symbol=self.stable_symbol,
            decimals=self.stable_decimals,
        )

    def terms(self, option_types: Sequence[OptionType]) -> HegicTerms:
        return HegicTerms(
            underlying=self.underlying,
            option_types=tuple(option_types),
            exercise_lead_s=self.exercise_lead_s,
            max_strike_drift_bps=self.max_strike_drift_bps,
            stress_move=self.stress_move,
            funds_share=self.funds_share,
        )

    @model_validator(mode="after")
    def _check_strategies(self) -> Self:
        """Refuse names that say no option, two of one, and a book without the underlying."""
        try:
            found = self.contracts.strategies
        except ConfigError as error:
            raise ValueError(str(error)) from None
        for what, count in (
            ("name", len({s.name for s in found})),
            ("address", len({s.address for s in found})),
        ):
            if count < len(found):
                raise ValueError(f"strategies has one {what} twice; each strategy is listed once")
        if all(item.underlying != self.underlying for item in found):
            raise ValueError(
                f"strategies has none on {self.underlying}, the underlying; add one, or correct it"
            )
        return self


class PanopticSettings(Part):
    """``[panoptic]``: one pool of Panoptic v2, and the Uniswap v3 pool and router under it. Only puts."""

    underlying: str = "ETH"
    pool: Address  # PanopticPool
    uniswap_pool: Address
    swap_router: Address
    underlying_token: Address
    underlying_tracker: Address  # CollateralTracker of each token
    underlying_symbol: str = "WETH"
    underlying_decimals: int = Field(default=18, ge=0, le=36)
    stable: Address
    stable_tracker: Address
    stable_symbol: str = "USDC"
    stable_decimals: int = Field(default=6, ge=0, le=36)
    from_block: int = Field(ge=0)  # where the pool was deployed: options are found by its events from here
    assumed_iv: float = Field(default=0.8, gt=0.0, le=5.0)  # effective life and premium are reckoned with it
    prepaid: float = Field(default=1.0, ge=0.25, le=10.0)  # put aside for premium, over what is expected
    min_dte: float = Field(default=1.0, ge=0.0)  # effective life of what is listed, days
    max_dte: float = Field(default=120.0, gt=0.0, le=3_650.0)
    max_spread: float = Field(default=2.0, gt=0.0, le=9.0)  # bought over still sold, after a purchase
    slippage_ticks: int = Field(default=50, ge=2, le=500)  # of the price, either way: about 0.01 % each

    @property
    def contracts(self) -> PanopticContracts:
        return PanopticContracts(
            pool=self.pool,
            uniswap_pool=self.uniswap_pool,
            unit_token=self.underlying_token,
            cash_token=self.stable,
            unit_tracker=self.underlying_tracker,
            cash_tracker=self.stable_tracker,
            router=self.swap_router,
            cash=self.stable_symbol,
            unit=self.underlying_symbol,
            unit_decimals=self.underlying_decimals,
            cash_decimals=self.stable_decimals,
        )

    def terms(self, option_types: Sequence[OptionType]) -> PanopticTerms:
        return PanopticTerms(
            underlying=self.underlying,
            option_types=tuple(option_types),
            from_block=self.from_block,
            assumed_iv=self.assumed_iv,
            prepaid=self.prepaid,
            min_dte=self.min_dte,
            max_dte=self.max_dte,
            max_spread=self.max_spread,
            slippage_ticks=self.slippage_ticks,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_dte >= self.max_dte:
            raise ValueError(f"min_dte must be under max_dte, was {self.min_dte:g} and {self.max_dte:g}")
        for what, first, second in (
            ("underlying_token and stable", self.underlying_token, self.stable),
            ("underlying_tracker and stable_tracker", self.underlying_tracker, self.stable_tracker),
        ):
            if first.lower() == second.lower():
                raise ValueError(f"{what} are the same contract {first}; name both")
        return self


class NexusSettings(Part):
    """``[nexus]``: Nexus Mutual. ``products`` is its product for each protocol: ``aave-v3 = 245``."""

    cover: Address
    seller: Address  # CoverBroker, or Cover itself where the account is a member
    nft: Address  # CoverNFT
    cover_products: Address
    staking_viewer: Address
    pool: Address
    claims: Address
    registry: Address
    stable: Address
    stable_symbol: str = "USDC"
    stable_decimals: int = Field(default=6, ge=0, le=36)
    asset_id: int = Field(default=6, ge=1, le=254)  # of the stable in the mutual's list of assets
    products: dict[str, int] = Field(min_length=1)
    from_block: int = Field(ge=0)  # where the CoverNFT was deployed
    premium_slack_bps: int = Field(default=100, ge=0, le=1_000)

    @property
    def contracts(self) -> NexusContracts:
        return NexusContracts(
            cover=self.cover,
            seller=self.seller,
            nft=self.nft,
            products=self.cover_products,
            staking_viewer=self.staking_viewer,
            pool=self.pool,
            claims=self.claims,
            registry=self.registry,
            token=self.stable,
            asset_id=self.asset_id,
            symbol=self.stable_symbol,
            decimals=self.stable_decimals,
        )

    @property
    def terms(self) -> NexusTerms:
        return NexusTerms(
            products=self.products, from_block=self.from_block, premium_slack_bps=self.premium_slack_bps
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(number < 0 for number in self.products.values()):
            raise ValueError("products are numbers of the mutual's own list, 0 or more")
        if len(set(self.products.values())) < len(self.products):
            raise ValueError("products names one product twice; a cover is of one protocol")
        return self
