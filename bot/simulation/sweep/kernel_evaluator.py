"""Evaluates by the compiled kernels what they are proven equal for, and by the engine all else.

A policy goes to the kernels where ``kernel_supports`` has no reason against it in any stretch: one that
hedges by NEAR's perpetual alone. Hours without a price make a gain unknown, as in the engine's own run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bot.engine.policy import Policy
from bot.model.market import FloatArray
from bot.simulation.backtest import cut_moments
from bot.simulation.history.tables import load_history, lookback_for
from bot.simulation.kernels.evaluate import KernelRun, Wanted, evaluate_perpetual
from bot.simulation.kernels.support import kernel_supports, policy_unsupported
from bot.simulation.kernels.tape_set import Tapes
from bot.simulation.market.model import with_implied_vols
from bot.simulation.sweep.evaluation import Evaluation, evaluate_tracks
from bot.simulation.sweep.study import EngineEvaluator, HourDone, Study
from bot.simulation.windows.file import Segment
from bot.simulation.windows.run import Account, Track, position_usd, priced_hours

_TRADES = ("open", "reduce")  # margin that moves and a liquidation are no trades
_WANTED = Wanted(tiers=True, path=True, orders=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stretch:
    """One segment, read once for all policies that look equally far back."""

    segment: Segment
    tapes: Tapes
    times_s: FloatArray
    spot_usd: FloatArray
    position_usd: FloatArray
    priced: NDArray[np.bool_]

    def track(self, run: KernelRun) -> Track:
        trades = [item.step for item in run.orders if item.filled and item.action in _TRADES]
        return Track(
            segment=self.segment,
            times_s=self.times_s,
            spot_usd=self.spot_usd,
            position_usd=self.position_usd,
            tiers=run.tiers,
            blind=np.zeros(self.times_s.size, dtype=bool),  # of tiers: no measure of money reads it
            alvh=Account(
                gain_usd=np.where(self.priced, run.open_usd + run.cash_usd, np.nan),
                trades_s=self.times_s[trades],
            ),
            benchmarks={},
            missing=(),
            gaps=(),
        )


def _runs(policies: Sequence[Policy], stretch: _Stretch) -> tuple[KernelRun, ...]:
    return evaluate_perpetual(policies, stretch.tapes, wanted=_WANTED, threads=1)  # a process for each core


class KernelEvaluator:
    """Implements ``Evaluator``; the same evaluations as the engine's, money within 1e-9 relative."""

    batch: ClassVar[int] = 256

    def __init__(self, study: Study) -> None:
        self._study = study
        self._engine = EngineEvaluator(study)
        self._read: dict[float, tuple[_Stretch, ...]] = {}  # by look-back

    def __call__(self, policies: Sequence[Policy], on_hour: HourDone) -> list[Evaluation]:
        by_kernel = self._by_kernel(policies, on_hour)
        return [by_kernel.get(policy.hash) or self._engine([policy], on_hour)[0] for policy in policies]

    def _by_kernel(self, policies: Sequence[Policy], on_hour: HourDone) -> dict[str, Evaluation]:
        found: dict[str, Evaluation] = {}
        mine = [policy for policy in policies if not policy_unsupported(policy)]
        for lookback_s in dict.fromkeys(lookback_for(policy.sizing.history_days) for policy in mine):
            alike = [item for item in mine if lookback_for(item.sizing.history_days) == lookback_s]
            stretches = self._stretches(lookback_s)
            if any(self._refused(alike[0], stretch) for stretch in stretches):
                continue
            runs = [_runs(alike, item) for item in stretches]
            for at, policy in enumerate(alike):
                tracks = [item.track(run[at]) for item, run in zip(stretches, runs, strict=True)]
                found[policy.hash] = evaluate_tracks(
                    policy.hash, tracks, self._study.windows, self._study.spans
                )
                for _ in range(sum(item.times_s.size for item in stretches)):
                    on_hour()
        return found

    def _refused(self, policy: Policy, stretch: _Stretch) -> bool:
        """Return whether a stretch is the engine's for its moments or market; the policy itself is not."""
        return bool(kernel_supports(policy, self._study.market, stretch.tapes.moments))

    def _stretches(self, lookback_s: float) -> tuple[_Stretch, ...]:
        if lookback_s not in self._read:
            made = [self._stretch(segment, lookback_s) for segment in self._study.segments]
            self._read[lookback_s] = tuple(item for item in made if item is not None)
        return self._read[lookback_s]

    def _stretch(self, segment: Segment, lookback_s: float) -> _Stretch | None:
        study = self._study
        history = load_history(
            study.data, study.spec, from_s=segment.start_s, to_s=segment.end_s, lookback_s=lookback_s
        )
        moments = tuple(
            cut_moments(
                with_implied_vols(history, study.market),
                study.spec,
                fee_apr=study.market.fee_apr,
                position=study.market.position(study.spec),
            )
        )
        if not moments:
            return None
        return _Stretch(
            segment=segment,
            tapes=Tapes(moments=moments, market=study.market),
            times_s=np.array([item.now_s for item in moments]),
            spot_usd=np.array([item.exposures[0].spot_usd for item in moments]),
            position_usd=np.array([position_usd(item) for item in moments]),
            priced=priced_hours(moments, study.spec, study.market),
        )
