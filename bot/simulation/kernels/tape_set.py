"""The tapes of one exposure's history, each made once and when it is first asked for."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.pipeline.moments import Moment
from bot.simulation.kernels.market_tapes import MarketTape, market_tape, stress_key, stress_series
from bot.simulation.kernels.support import Unsupported, fees_unsupported
from bot.simulation.kernels.tapes import TierTape, tier_key, tier_tape
from bot.simulation.market.model import Market


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tapes:
    """What the kernels read of a history. Moments are those of ``backtest.cut_moments``, in time order."""

    moments: Sequence[Moment]
    market: Market
    _tiers: dict[Hashable, TierTape] = field(default_factory=dict, init=False, repr=False)
    _stress: dict[Hashable, FloatArray] = field(default_factory=dict, init=False, repr=False)
    _markets: list[MarketTape] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.moments:
            raise ConfigError("the kernels need a moment at least, found none; choose another range")

    @property
    def steps(self) -> int:
        return len(self.moments)

    @property
    def tied(self) -> tuple[Unsupported, ...]:
        """Return why tiers here rest on what a run itself did, so that they are the engine's."""
        return fees_unsupported(self.moments)

    @property
    def market_tape(self) -> MarketTape:
        if not self._markets:
            self._markets.append(market_tape(self.moments, self.market))
        return self._markets[0]

    def tier(self, policy: Policy) -> TierTape:
        key = tier_key(policy)
        if key not in self._tiers:
            self._tiers[key] = tier_tape(policy, self.moments)
        return self._tiers[key]

    def stress(self, policy: Policy) -> FloatArray:
        key = stress_key(policy)
        if key not in self._stress:
            self._stress[key] = stress_series(policy, self.moments)
        return self._stress[key]

    def account_key(self, policy: Policy) -> Hashable:
        """Return what policies must share to run in one block."""
        sizing = policy.sizing
        grid = (sizing.grid_from, sizing.grid_to, sizing.grid_step, sizing.loss_measure)
        return (tier_key(policy), stress_key(policy), grid)
