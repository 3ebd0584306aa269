"""R21 RESERVE: stables that are ready, and what they are spent on first: loans near their liquidation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bot.engine.base_layers.diversification import worth_usd
from bot.engine.base_layers.unasked import Purse, is_live, why_ask
from bot.engine.group import stable_values
from bot.engine.policy import Policy
from bot.engine.rules.defi_liquidity import may_spend_reserve
from bot.model.base_layers import (
    Action,
    BaseLayer,
    LendingPosition,
    Loan,
    Needs,
    Proposal,
    ReserveHolding,
    ReserveState,
)
from bot.model.market import Frame, Metric, SeriesKey
from bot.model.record import GroupDecision
from bot.model.tier import Quality, RuleFinding, Tier
from bot.signals.reading import freshness

RULE = "R21"
SUBJECT = "RESERVE"
_CENTS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """How one loan gets its health factor back, and who pays."""

    action: Action  # TOP_UP or REPAY
    amount_usd: float  # that lifts it to hf_target; NaN: the debt is not known
    part: float  # of the debt (REPAY), fraction; NaN for a top-up of unknown size
    available_usd: float  # what RESERVE could pay of it
    from_reserve_usd: float
    health_after: float
    health_after_reserve: float


def reserve(
    policy: Policy,
    frame: Frame,
    groups: Sequence[GroupDecision],
    protocol_tiers: Mapping[str, Tier],
) -> tuple[tuple[Proposal, ...], tuple[RuleFinding, ...]]:
    """Return what to repay or top up, to add, to split, and what may be spent; a finding for each loan."""
    state = reserve_state(policy, frame, released=released_by(groups, protocol_tiers))
    proposals, findings = _rescues(policy, frame, state)
    left_usd = state.spendable_usd - sum(item.from_reserve_usd for item in proposals)
    own, because = _own_proposals(policy, state, left_usd)
    findings.append(RuleFinding(rule=RULE, fired=bool(own), because=because))
    return (*proposals, *own), tuple(findings)


def released_by(groups: Sequence[GroupDecision], protocol_tiers: Mapping[str, Tier]) -> str:
    """Return why RESERVE may be spent: a tier of SEVERE or above, or R6; empty when it may not."""
    words = [f"market tier {item.tier.name} of {item.group}" for item in groups if item.tier >= Tier.SEVERE]
    words += [
        f"protocol tier {tier.name} of {name}"
        for name, tier in sorted(protocol_tiers.items())
        if tier >= Tier.SEVERE
    ]
    words += [f"R6 in {item.group}" for item in groups if may_spend_reserve(item.findings)]
    return ", ".join(words)


def reserve_state(policy: Policy, frame: Frame, *, released: str = "") -> ReserveState:
    """Return what RESERVE is worth. A holding that cannot be valued counts nothing and is named."""
    stables: dict[str, float] = {}
    live: dict[str, float] = {}
    real_usd, unknown = 0.0, []
    pars = stable_values(policy, frame) if frame.base.reserves else {}
    for item in frame.base.reserves:
        usd, trouble = _worth(policy, frame, item, pars)
        if trouble:
            unknown.append(f"{item.asset}: {trouble}")
        elif item.is_real_asset:
            real_usd += usd * (1.0 - policy.reserve.real_asset_haircut)
        else:
            stables[item.asset] = stables.get(item.asset, 0.0) + usd
            if item.watched and is_live(policy, frame, item.watched):
                live[item.asset] = live.get(item.asset, 0.0) + usd
    exposure_usd = sum(worth_usd(item) for item in frame.exposures) if not frame.unseen else math.nan
    return ReserveState(
        configured=bool(frame.base.reserves),
        stables_usd=tuple(sorted(stables.items())),
        real_assets_usd=real_usd,
        target_usd=policy.reserve.share * exposure_usd,
        unknown=tuple(unknown),
        released=released,
        live_usd=tuple(sorted(live.items())),
    )


def rescue(
    position: LendingPosition, *, target: float, threshold: float, available_usd: float, prefer: Action
) -> Rescue:
    """Return the least payment that lifts a loan's health to ``target``, and what RESERVE pays of it.

    Amounts are whole cents, rounded up, so that the target is reached; RESERVE's part is rounded down. A
    top-up whose threshold is not known becomes a repayment.
    """
    top_up_usd = position.top_up_to(target, threshold=threshold)
    action = Action.TOP_UP if prefer is Action.TOP_UP and math.isfinite(top_up_usd) else Action.REPAY
    exact_usd = top_up_usd if action is Action.TOP_UP else position.repay_to(target)
    amount_usd = math.ceil(exact_usd * _CENTS) / _CENTS
    if action is Action.REPAY:
        amount_usd = min(amount_usd, position.debt_usd)
    paid_usd = min(amount_usd, math.floor(max(0.0, available_usd) * _CENTS) / _CENTS)
    return Rescue(
        action=action,
        amount_usd=amount_usd,
        part=amount_usd / position.debt_usd if action is Action.REPAY else math.nan,
        available_usd=available_usd,
        from_reserve_usd=paid_usd,
        health_after=_paid(position, action, amount_usd, threshold).health_factor,
        health_after_reserve=_paid(position, action, paid_usd, threshold).health_factor,
    )


def _paid(position: LendingPosition, action: Action, usd: float, threshold: float) -> LendingPosition:
    return position.topped_up(usd, threshold=threshold) if action is Action.TOP_UP else position.repaid(usd)


def _rescues(policy: Policy, frame: Frame, state: ReserveState) -> tuple[list[Proposal], list[RuleFinding]]:
    """Return a proposal for each loan to rescue, worst first: RESERVE goes where it is needed most."""
    healths, findings = _healths(policy, frame)
    purse, proposals = Purse(left_usd=state.spendable_usd, unasked_usd=dict(state.live_usd)), list[Proposal]()
    loans = {item.position: item for item in frame.base.loans}
    for health, position in healths:
        limit = policy.reserve.hf_target if state.released else policy.hard_triggers.hf_min
        if not health < limit:
            because = f"health factor of {position} {health:.3f}, {health - limit:.3f} over {limit:g}"
            findings.append(RuleFinding(rule=RULE, fired=False, because=because))
            continue
        found = _rescue_of(policy, frame, position, health, loans.get(position), state, purse)
        proposals.append(found)
        findings.append(RuleFinding(rule=RULE, fired=True, because=found.because))
    return proposals, findings


def _healths(policy: Policy, frame: Frame) -> tuple[list[tuple[float, str]], list[RuleFinding]]:
    """Return the known health factors, worst first, the lowest of several sources; and what is not known."""
    known: dict[str, float] = {}
    findings = []
    for key in frame.columns.find(Metric.HEALTH_FACTOR):
        value, trouble = _newest(policy, frame, key)
        if trouble:
            because = f"health factor of {key.subject} ({key.source}) unknown, {trouble}: nothing is proposed"
            findings.append(RuleFinding(rule=RULE, fired=False, because=because))
        else:
            known[key.subject] = min(value, known.get(key.subject, math.inf))
    watched = {key.subject for key in frame.columns.find(Metric.HEALTH_FACTOR)}
    for item in frame.base.loans:
        if item.position not in watched:
            because = f"loan {item.position} is not guarded: no source has its health factor"
            findings.append(RuleFinding(rule=RULE, fired=False, because=because))
    return sorted((value, name) for name, value in known.items()), findings


def _rescue_of(
    policy: Policy,
    frame: Frame,
    position: str,
    health: float,
    loan: Loan | None,
    state: ReserveState,
    purse: Purse,
) -> Proposal:
    target = policy.reserve.hf_target
    debt_usd, trouble = _debt(policy, frame, loan, position)
    words = [f"health factor of {position} {health:.3f}, under {_limit_words(policy, state, health)}"]
    if trouble:
        return _unknown_debt(position, health, target, [*words, trouble])
    found, why = _payment(policy, frame, position, health, debt_usd, loan, purse)
    words.append(_payment_words(found, loan))
    words.extend(_payer_words(found, state))
    if why and policy.reserve.without_asking:
        words.append(f"a person must confirm: {why}")
    return Proposal(
        rule=RULE,
        layer=BaseLayer.RESERVE,
        action=found.action,
        subject=position,
        amount_usd=found.amount_usd,
        because="; ".join(words),
        needs=Needs.CONFIRMATION if why else Needs.NOBODY,
        part=found.part,
        from_reserve_usd=found.from_reserve_usd,
        health_after=found.health_after,
        health_after_reserve=found.health_after_reserve,
    )


def _payment(
    policy: Policy,
    frame: Frame,
    position: str,
    health: float,
    debt_usd: float,
    loan: Loan | None,
    purse: Purse,
) -> tuple[Rescue, str]:
    """Return what to pay for a loan, and why a person must confirm it: empty where nobody needs to."""
    pay = partial(
        rescue,
        LendingPosition.at_health(health, debt_usd=debt_usd),
        target=policy.reserve.hf_target,
        threshold=loan.top_up_threshold if loan else math.nan,
        prefer=Action.TOP_UP if policy.reserve.rescue == "top up" else Action.REPAY,
    )
    found = pay(available_usd=purse.left_usd)
    asset = _asset(found, loan)
    why = why_ask(policy, frame, position=position, health=health, loan=loan, asset=asset, purse=purse)
    if not why:
        found = pay(available_usd=min(purse.left_usd, purse.unasked_usd[asset]))
        why = "" if found.from_reserve_usd > 0.0 else "RESERVE has nothing left"
    purse.pay(found.from_reserve_usd, asset=asset, unasked=not why)
    return found, why


def _unknown_debt(position: str, health: float, target: float, words: Sequence[str]) -> Proposal:
    """Return what can be said of a loan by its health alone: which part of the debt to repay."""
    loan = LendingPosition.at_health(health, debt_usd=1.0)
    part = loan.repay_to(target)
    because = "; ".join([*words, f"repay {part:.1%} of it for a health factor of {target:g}"])
    return Proposal(
        rule=RULE,
        layer=BaseLayer.RESERVE,
        action=Action.REPAY,
        subject=position,
        amount_usd=math.nan,
        because=because,
        part=part,
        health_after=loan.repaid(part).health_factor,
        health_after_reserve=health,
    )


def _limit_words(policy: Policy, state: ReserveState, health: float) -> str:
    if health < policy.hard_triggers.hf_min:
        return f"hf_min {policy.hard_triggers.hf_min:g}"
    return f"hf_target {policy.reserve.hf_target:g} while RESERVE may be spent ({state.released})"


def _payment_words(found: Rescue, loan: Loan | None) -> str:
    asset = _asset(found, loan)
    what = f"{found.action} {found.amount_usd:,.2f} USD{f' in {asset}' if asset else ''}"
    part = f" ({found.part:.1%} of the debt)" if math.isfinite(found.part) else ""
    return f"{what}{part}: {found.health_after:.3f} after it"


def _asset(found: Rescue, loan: Loan | None) -> str:
    """Return what a payment is made in, empty where that is not stated."""
    if loan is None:
        return ""
    return loan.top_up_asset if found.action is Action.TOP_UP else loan.debt_asset


def _payer_words(found: Rescue, state: ReserveState) -> Iterator[str]:
    if not state.configured:
        yield "no reserve is stated: pay it from elsewhere"
    elif found.from_reserve_usd < found.amount_usd:
        left_usd = max(0.0, found.available_usd)
        yield (
            f"RESERVE has {left_usd:,.2f} USD left, for {found.health_after_reserve:.3f}; "
            f"{found.amount_usd - found.from_reserve_usd:,.2f} USD must come from elsewhere"
        )
    else:
        yield "RESERVE pays it"


def _own_proposals(policy: Policy, state: ReserveState, left_usd: float) -> tuple[list[Proposal], str]:
    """Return what RESERVE itself needs: money, more stables, or leave to be spent."""
    if not state.configured:
        wanted = f", {state.target_usd:,.0f} USD wanted" if math.isfinite(state.target_usd) else ""
        return [], f"no reserve is stated as [[reserves]]: what could be spent is not known{wanted}"
    words = _state_words(state)
    found: list[Proposal] = []
    if state.released:
        words.append(f"may be spent: {state.released}")
        if left_usd > 0.0:
            found.append(_own(Action.SPEND, left_usd, words))
        return found, "; ".join(words)
    words.append("kept: no tier is SEVERE and R6 is silent")
    if math.isnan(state.target_usd):
        words.append("its target is not known: a position has no value or was not read")
    elif state.unknown:
        words.append("nothing is added while a holding's worth is not known")
    elif state.counted_usd < policy.reserve.refill_under * state.target_usd:
        missing_usd = state.target_usd - state.counted_usd
        words.append(f"{missing_usd:,.0f} USD short of {policy.reserve.share:.0%} of exposure")
        found.append(_own(Action.ADD, missing_usd, words))
    if state.spendable_usd > 0.0 and not state.unknown:
        found.extend(_split(policy, state, words))
    return found, "; ".join(words)


def _split(policy: Policy, state: ReserveState, words: list[str]) -> Iterator[Proposal]:
    """Yield the least that makes as many stables count as there should be."""
    least_usd = policy.reserve.min_part * state.spendable_usd
    # The largest already count or come nearest to it; a stable that is not there yet has nothing.
    largest = sorted((usd for _, usd in state.stables_usd), reverse=True)
    wanted = [*largest, *([0.0] * policy.reserve.min_stables)][: policy.reserve.min_stables]
    counting = sum(usd >= least_usd and usd > 0.0 for usd in largest)
    if counting >= policy.reserve.min_stables:
        return
    missing_usd = sum(max(0.0, least_usd - usd) for usd in wanted)
    words.append(
        f"{counting} stables hold {policy.reserve.min_part:.0%} of it or more, "
        f"{policy.reserve.min_stables} are wanted"
    )
    yield _own(Action.SPLIT, missing_usd, words)


def _state_words(state: ReserveState) -> list[str]:
    each = ", ".join(f"{name} {usd:,.0f}" for name, usd in state.stables_usd) or "no stables"
    words = [f"RESERVE {state.counted_usd:,.0f} USD: {each}"]
    if state.real_assets_usd:
        words.append(f"real assets {state.real_assets_usd:,.0f} after their haircut, to be sold first")
    return [*words, *(f"not counted: {item}" for item in state.unknown)]


def _own(action: Action, amount_usd: float, words: Sequence[str]) -> Proposal:
    return Proposal(
        rule=RULE,
        layer=BaseLayer.RESERVE,
        action=action,
        subject=SUBJECT,
        amount_usd=amount_usd,
        because="; ".join(words),
        from_reserve_usd=amount_usd if action is Action.SPEND else 0.0,
    )


def _worth(
    policy: Policy, frame: Frame, item: ReserveHolding, pars: Mapping[str, float]
) -> tuple[float, str]:
    """Return a holding's USD, else NaN and why it is not known. A stable is worth par at most (R10)."""
    units, trouble = item.units, ""
    if item.watched:
        units, trouble = _watched_units(policy, frame, item.watched)
    if trouble:
        return math.nan, trouble
    if not 0.0 <= units < math.inf:
        return math.nan, f"{units:g} units are no amount"
    if item.is_real_asset:
        price_usd, trouble = _price(policy, frame, item.asset, stated_usd=item.price_usd)
    else:
        price_usd = pars.get(item.asset, 1.0 if math.isnan(item.price_usd) else min(1.0, item.price_usd))
        trouble = "" if math.isfinite(price_usd) else "its price is not known"
    return units * price_usd, trouble


def _watched_units(policy: Policy, frame: Frame, subject: str) -> tuple[float, str]:
    keys = frame.columns.find(Metric.TOKEN_UNITS, subject)
    if not keys:
        return math.nan, f"no source has {Metric.TOKEN_UNITS} of {subject}"
    return _newest(policy, frame, keys[0])


def _debt(policy: Policy, frame: Frame, loan: Loan | None, position: str) -> tuple[float, str]:
    """Return a loan's debt in USD, else NaN and why it is not known."""
    if loan is None:
        return math.nan, f"its debt is not known: state it as [[loans]] of {position}"
    units, trouble = loan.debt_units, ""
    if loan.watched:
        units, trouble = _watched_units(policy, frame, loan.watched)
    if trouble or not 0.0 < units < math.inf:
        return math.nan, f"its debt is not known: {trouble or f'{units:g} {loan.debt_asset} is no debt'}"
    stated_usd = 1.0 if loan.debt_asset in policy.signals.stables else math.nan
    price_usd, trouble = _price(policy, frame, loan.debt_asset, stated_usd=stated_usd)
    return units * price_usd, f"its debt is not known: {trouble}" if trouble else ""


def _price(policy: Policy, frame: Frame, asset: str, *, stated_usd: float) -> tuple[float, str]:
    """Return an asset's price by its first source; what was stated where there is none."""
    keys = frame.columns.find(Metric.PRICE_USD, asset)
    if not keys:
        return stated_usd, "" if stated_usd > 0.0 else f"no source has the price of {asset}"
    value, trouble = _newest(policy, frame, keys[0])
    return (value, "") if value > 0.0 else (math.nan, trouble or f"the price of {asset} is {value:g}")


def _newest(policy: Policy, frame: Frame, key: SeriesKey) -> tuple[float, str]:
    """Return the last known value while it is live or held, else NaN and why it is not known."""
    column = frame.columns[key].until(frame.now_s)
    found = freshness(key, column, now_s=frame.now_s, policy=policy.signals)
    if found.quality is Quality.MISSING:
        return math.nan, found.because
    return float(column.values[column.last_known()]), ""
