"""R20 INSURANCE: a standing share of each protocol's exposure is covered against protocol events.

The market tier says when cover is bought, never how much. Cover is no hedge: it counts in nothing of R8 and
R10. Each purchase is a proposal, which a person carries out (`alvh cover buy`, or elsewhere).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.engine.base_layers.diversification import worth_usd
from bot.engine.policy import Policy
from bot.model.base_layers import Action, BaseLayer, Cover, Proposal
from bot.model.market import Frame
from bot.model.tier import RuleFinding, Tier
from bot.model.units import DAY_S, iso_utc

RULE = "R20"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverState:
    """Cover of one protocol: wanted and held, in USD."""

    protocol: str
    kind: str  # protocol class; empty: the policy lists none
    exposure_usd: float  # NaN: unknown
    wanted_usd: float  # NaN: unknown
    lasting: tuple[Cover, ...]  # alive, and not to be renewed yet
    ending: tuple[Cover, ...]  # alive, to be renewed now; the earliest expiry first
    unusable: tuple[str, ...]  # other covers of it, and why they do not count

    @property
    def lasting_usd(self) -> float:
        return sum(item.amount_usd for item in self.lasting)

    @property
    def held_usd(self) -> float:
        return self.lasting_usd + sum(item.amount_usd for item in self.ending)


def insurance(
    policy: Policy, frame: Frame, market_tiers: Mapping[str, Tier], protocol_tiers: Mapping[str, Tier]
) -> tuple[tuple[Proposal, ...], tuple[RuleFinding, ...]]:
    """Return cover to buy and to renew, and a finding for every protocol. ``market_tiers`` are by group."""
    proposals: list[Proposal] = []
    findings = []
    for state in cover_states(policy, frame):
        groups = {item.group for item in frame.exposures if item.protocol == state.protocol}
        market = max((market_tiers[name] for name in groups if name in market_tiers), default=None)
        wanted, because = _wanted(policy, frame, state, market, protocol_tiers.get(state.protocol))
        proposals.extend(wanted)
        findings.append(RuleFinding(rule=RULE, fired=bool(wanted), because=because))
    findings.extend(_without_exposure(frame))
    return tuple(proposals), tuple(findings)


def cover_states(policy: Policy, frame: Frame) -> tuple[CoverState, ...]:
    """Return wanted and held cover of each protocol that something lies in, by name. No tier is asked."""
    return tuple(_state(policy, frame, name) for name in sorted({item.protocol for item in frame.exposures}))


def _state(policy: Policy, frame: Frame, protocol: str) -> CoverState:
    kind, share = policy.insurance.share_of(protocol)
    # A position that was not read may lie in it: the cover is then sized on what is known, and too small.
    exposure_usd = sum(worth_usd(item) for item in frame.exposures if item.protocol == protocol)
    alive, unusable = [], []
    for item in frame.base.covers:
        if item.protocol == protocol:
            trouble = _trouble(item, now_s=frame.now_s)
            if trouble:
                unusable.append(f"cover {item.id} {trouble}")
            else:
                alive.append(item)
    alive.sort(key=lambda item: (item.expires_s, item.id))
    renewal_s = frame.now_s + policy.insurance.renew_before
    return CoverState(
        protocol=protocol,
        kind=kind,
        exposure_usd=exposure_usd,
        wanted_usd=math.nan if share is None else share * exposure_usd,
        lasting=tuple(item for item in alive if item.expires_s > renewal_s),
        ending=tuple(item for item in alive if item.expires_s <= renewal_s),
        unusable=tuple(unusable),
    )


def _trouble(item: Cover, *, now_s: float) -> str:
    if not 0.0 < item.amount_usd < math.inf:
        return f"is of {item.amount_usd:g} USD"
    if not math.isfinite(item.expires_s):
        return "has no known expiry"
    if item.expires_s <= now_s:
        return f"has expired on {iso_utc(item.expires_s)}"
    return f"begins on {iso_utc(item.starts_s)}" if item.starts_s > now_s else ""


def _wanted(
    policy: Policy, frame: Frame, state: CoverState, market: Tier | None, protocol: Tier | None
) -> tuple[tuple[Proposal, ...], str]:
    """Return what to buy now, and why that or why nothing."""
    words = _held_words(state, now_s=frame.now_s)
    if frame.unseen:
        words.append(f"{', '.join(sorted(frame.unseen))} was not read and may lie in it")
    if not state.kind:
        words.append(f"no cover is wanted: insurance.classes does not list {state.protocol}")
        return (), "; ".join(words)
    if math.isnan(state.wanted_usd):
        words.append("how much is wanted is not known: a position in it has no value")
        return (), "; ".join(words)
    if protocol is not None and protocol > Tier.GUARDED:
        words.append(f"none is bought: its protocol tier is {protocol.name}, above GUARDED")
        return (), "; ".join(words)
    found = list(_renewals(policy, state, words))
    gap_usd = state.wanted_usd - state.held_usd
    if not state.held_usd < policy.insurance.buy_under * state.wanted_usd:
        words.append(
            "nothing is missing" if gap_usd <= 0.0 else f"{gap_usd:,.0f} USD short, too little to buy"
        )
    elif market is not Tier.CALM:
        tier = market.name if market is not None else "not known"
        words.append(f"{gap_usd:,.0f} USD short; bought in CALM, the market tier is {tier}")
    else:
        words.append(f"{gap_usd:,.0f} USD short, to be bought while the market is CALM")
        found.append(_proposal(state, Action.BUY_COVER, state.protocol, gap_usd, "; ".join(words)))
    return tuple(found), "; ".join(words)


def _renewals(policy: Policy, state: CoverState, words: Sequence[str]) -> Iterator[Proposal]:
    """Yield the renewal of each cover that ends soon, in any market, as far as it is still wanted."""
    left_usd = state.wanted_usd - state.lasting_usd
    for item in state.ending:
        amount_usd = min(item.amount_usd, left_usd)
        if amount_usd <= 0.0:
            return
        left_usd -= amount_usd
        days = policy.insurance.renew_before / DAY_S
        because = f"{words[0]}; cover {item.id} ends on {iso_utc(item.expires_s)}, within {days:g} d"
        yield _proposal(state, Action.RENEW_COVER, item.id, amount_usd, because, due_s=item.expires_s)


def _held_words(state: CoverState, *, now_s: float) -> list[str]:
    wanted = f", {state.wanted_usd:,.0f} USD wanted" if math.isfinite(state.wanted_usd) else ""
    kind = f" ({state.kind})" if state.kind else ""
    is_stated = state.lasting or state.ending or state.unusable
    held = f"{state.held_usd:,.0f} USD" if is_stated else "none is held or stated"
    words = [f"cover of {state.protocol}{kind}: {held}{wanted}"]
    words += [
        f"cover {item.id} ends in {(item.expires_s - now_s) / DAY_S:.1f} d"
        for item in (*state.ending, *state.lasting)
    ]
    return [*words, *state.unusable]


def _without_exposure(frame: Frame) -> Iterator[RuleFinding]:
    """Name cover of protocols that nothing lies in any more, so that its expiry is not lost."""
    protocols = {item.protocol for item in frame.exposures}
    for item in sorted(frame.base.covers, key=lambda item: (item.protocol, item.expires_s, item.id)):
        if item.protocol not in protocols:
            trouble = _trouble(item, now_s=frame.now_s) or f"ends on {iso_utc(item.expires_s)}"
            because = f"cover {item.id} of {item.protocol} {trouble}; no position lies in {item.protocol}"
            yield RuleFinding(rule=RULE, fired=False, because=because)


def _proposal(
    state: CoverState,
    action: Action,
    subject: str,
    amount_usd: float,
    because: str,
    *,
    due_s: float = math.nan,
) -> Proposal:
    return Proposal(
        rule=RULE,
        layer=BaseLayer.INSURANCE,
        action=action,
        subject=subject,
        amount_usd=amount_usd,
        because=because,
        due_s=due_s,
        follows=f"alvh cover buy buys it; bought elsewhere, state it as [[covers]] of {state.protocol}",
    )
