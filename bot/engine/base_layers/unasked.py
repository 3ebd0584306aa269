"""What R21 pays without asking, where the policy says so in words: only what this frame has read.

A person who confirms a payment knows what was done since the figures were written down; here nobody looks. So
the health factor, the debt and the holding that pays must each be live on the chain: a figure that is stated
in the configuration does not fall when it is spent, and one that is held over a failing source may be of
before somebody else paid. And RESERVE pays in what the loan takes, for nothing is exchanged on the way.
"""

from dataclasses import dataclass

from bot.engine.policy import Policy
from bot.model.base_layers import Loan
from bot.model.market import Frame, Metric, SeriesKey
from bot.model.tier import Quality
from bot.signals.reading import freshness


@dataclass(slots=True, kw_only=True)
class Purse:
    """RESERVE's stables while loans are paid from them, the worst loan first. USD."""

    left_usd: float  # of all stables
    unasked_usd: dict[str, float]  # by stable, what may be paid without asking

    def pay(self, usd: float, *, asset: str, unasked: bool) -> None:
        self.left_usd -= usd
        if unasked:
            self.unasked_usd[asset] -= usd


def why_ask(
    policy: Policy, frame: Frame, *, position: str, health: float, loan: Loan | None, asset: str, purse: Purse
) -> str:
    """Return why a person must confirm a payment in ``asset``; empty where nobody needs to."""
    if not policy.reserve.without_asking:
        return "reserve.consent asks"
    if not _has_live_health(policy, frame, position, health):
        return "its health factor is not live"
    if loan is None or not loan.watched or not is_live(policy, frame, loan.watched):
        return "its debt is not watched, or not live"
    if not purse.unasked_usd.get(asset, 0.0) > 0.0:
        return f"RESERVE has no {asset or 'asset of its own'} left that is watched and live"
    return ""


def is_live(policy: Policy, frame: Frame, holding: str) -> bool:
    """Say whether the units of a watched holding, "<holder>/<token>", were read just now."""
    keys = frame.columns.find(Metric.TOKEN_UNITS, holding)
    return bool(keys) and _is_live(policy, frame, keys[0])


def _has_live_health(policy: Policy, frame: Frame, position: str, health: float) -> bool:
    return any(
        _is_live(policy, frame, key) and frame.columns[key].until(frame.now_s).values[-1] == health
        for key in frame.columns.find(Metric.HEALTH_FACTOR, position)
    )


def _is_live(policy: Policy, frame: Frame, key: SeriesKey) -> bool:
    column = frame.columns[key].until(frame.now_s)
    return freshness(key, column, now_s=frame.now_s, policy=policy.signals).quality is Quality.LIVE
