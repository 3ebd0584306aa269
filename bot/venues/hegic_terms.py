"""How Hegic Herge is traded by this program, and the small values its adapter passes around.

A strategy is one kind of option: put or call, one moneyness, one span of periods. Strike and expiry are set
when it is bought; what is listed says what they would be now.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from bot.errors import ConfigError
from bot.model.hedge import ExerciseStyle, Instrument, OptionType, StrikeMode
from bot.model.units import DAY_S, HOUR_S, USDC_DECIMALS
from bot.venues.option_terms import OptionGas, OptionTerms

# As the protocol's own address book names them: HegicStrategy_PUT_90_ETH_2, the prefix may be left out.
_NAME = re.compile(r"^(?:HegicStrategy_)?(PUT|CALL)_([1-9]\d{1,2})_(ETH|BTC)_([1-9])$")
_SPOT_DECIMALS = {"ETH": 18, "BTC": 8}
_DAYS = re.compile(r"^(\S+):(\d+)d$")


@dataclass(frozen=True, slots=True, kw_only=True)
class HegicStrategy:
    """One strategy of the address book. Its moneyness stands nowhere on the chain: the name is believed."""

    name: str  # "PUT_90_ETH_2"
    address: str  # lower case
    option_type: OptionType
    moneyness: float  # strike over spot at purchase
    underlying: str
    decimals: int  # of an amount

    @classmethod
    def of(cls, name: str, address: str) -> Self:
        """Read a strategy's name. Raises ConfigError for one that is no plain put or call."""
        found = _NAME.match(name)
        if found is None:
            raise ConfigError(
                f"hegic strategy {name!r} is not understood; expected PUT_90_ETH_2 or CALL_110_BTC_1: the "
                "kind, strike over spot in per cent, the underlying, and its span of periods"
            )
        kind, percent, underlying, span = found.groups()
        return cls(
            name=f"{kind}_{percent}_{underlying}_{span}",
            address=address.lower(),
            option_type=OptionType(kind.lower()),
            moneyness=int(percent) / 100,
            underlying=underlying,
            decimals=_SPOT_DECIMALS[underlying],
        )

    @property
    def kind(self) -> tuple[OptionType, float]:
        return self.option_type, self.moneyness


@dataclass(frozen=True, slots=True, kw_only=True)
class HegicContracts:
    """Addresses of one Herge system, as its deployment lists them."""

    treasury: str  # OperationalTreasury: sells, is approved to, pays
    manager: str  # PositionsManager: an ERC-721 per option
    cover_pool: str
    token: str  # what premiums and payoffs are in
    strategies: tuple[HegicStrategy, ...]
    symbol: str = "USDC"
    decimals: int = USDC_DECIMALS

    @classmethod
    def of(
        cls, strategies: Mapping[str, str], *, treasury: str, manager: str, cover_pool: str, token: str
    ) -> Self:
        """Return the contracts with strategies given as name -> address. Raises ConfigError."""
        found = tuple(HegicStrategy.of(name, address) for name, address in strategies.items())
        return cls(treasury=treasury, manager=manager, cover_pool=cover_pool, token=token, strategies=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class HegicGas(OptionGas):
    buy: int = 750_000  # approval, buy; the allowance is used up
    exercise: int = 350_000  # payOff, the cover pool stepping in included


@dataclass(frozen=True, slots=True, kw_only=True)
class HegicTerms(OptionTerms):
    """How this venue is traded."""

    name: str = "hegic"
    # In the last hours an option in the money is exercised: gas may spike, a block may be full, and nothing
    # is paid from its expiration on. Signatures of a Safe take longer: give them a day or two.
    exercise_lead_s: float = 6 * HOUR_S
    max_strike_drift_bps: int = 100  # of the strike now against the one that was decided on
    # What the venue may come to owe us when the price moves by so much, as a share of its free funds: it
    # locks a premium for an option, not its payoff.
    stress_move: float = 0.5
    funds_share: float = 0.25
    gas: HegicGas = HegicGas()


def listed(
    strategy: HegicStrategy,
    *,
    period_s: int,
    spot: float,
    now_s: int,
    contracts: HegicContracts,
    terms: HegicTerms,
) -> Instrument:
    """Return what buying a strategy for ``period_s`` at ``spot`` would come to now."""
    return replace(
        _option(strategy, spot=spot, expiry_s=now_s + period_s, contracts=contracts, terms=terms),
        id=f"{strategy.name}:{period_s // DAY_S}d",
        strike_mode=StrikeMode.AT_FILL,
    )


def bought(
    strategy: HegicStrategy,
    *,
    position_id: int,
    spot: float,
    expiry_s: int,
    contracts: HegicContracts,
    terms: HegicTerms,
) -> Instrument:
    """Return the option that a position is; ``spot`` is the one that it was struck from."""
    option = _option(strategy, spot=spot, expiry_s=expiry_s, contracts=contracts, terms=terms)
    return replace(option, id=f"{strategy.name}#{position_id}")


def _option(
    strategy: HegicStrategy, *, spot: float, expiry_s: int, contracts: HegicContracts, terms: HegicTerms
) -> Instrument:
    return Instrument(
        venue=terms.name,
        id=strategy.name,
        underlying=strategy.underlying,
        option_type=strategy.option_type,
        strike_usd=spot * strategy.moneyness,
        expiry_s=expiry_s,
        settlement=contracts.symbol,
        style=ExerciseStyle.AMERICAN,
        closes_whole=True,
    )


def parse_listed(instrument_id: str) -> tuple[str, int] | None:
    """Return (strategy name, period in seconds) of "PUT_90_ETH_2:30d", None for another venue's names."""
    found = _DAYS.match(instrument_id)
    return (found[1], int(found[2]) * DAY_S) if found else None
