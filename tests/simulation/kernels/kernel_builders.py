"""Random tapes, policies and readings for the tests of the kernels. Everything is made up."""

from dataclasses import replace

import numpy as np

from bot.engine.limits import spot_grid
from bot.engine.policy_sizing import TierShares
from bot.settings import PolicySettings, load_policy
from bot.simulation.kernels import layout as at
from bot.simulation.kernels.evaluate import Inputs
from bot.simulation.kernels.market_tapes import MarketTape
from bot.simulation.kernels.tapes import TierTape

HOUR_S = 3600.0
NONE = TierShares(CALM=0.0, GUARDED=0.0, ELEVATED=0.0, SEVERE=0.0, CRISIS=0.0)
STEWARD = load_policy(PolicySettings(preset="steward"))
WITHOUT_OPTIONS = replace(STEWARD, sizing=replace(STEWARD.sizing, shares=NONE))


def random_policy(random, base=WITHOUT_OPTIONS):
    """Return a policy whose R1-R4 and R27 are anything that the policy file allows, edges included."""
    off = float(random.choice([0.0, 0.2, 0.35, random.uniform(0.0, 0.6)]))
    vote = float(random.choice([off + 0.05, off + random.uniform(0.01, 0.3)]))
    cooldown = float(random.choice([0.0, 6.0, 48.0, random.uniform(0.0, 100.0)])) * HOUR_S
    cooldown += float(random.choice([0.0, 0.4]))  # 0.4: over within the second after a step
    tiers = replace(
        base.tiers,
        vote=vote,
        vote_off=off,
        severe_score=float(random.choice([vote, min(vote + 0.2, 1.0)])),
        fast_vote=None if random.random() < 0.3 else float(random.uniform(0.1, 0.95)),
        confirm=int(random.integers(1, 5)),
        confirm_s=float(random.choice([0.0, 60.0, 7200.0])),
        confirm_blocks=int(random.choice([0, 6, 400])),
        cooldown=cooldown,
        cooldown_guarded=cooldown * float(random.random()),
        step_down=str(random.choice(["one", "straight"])),
        session=float(random.choice([1.0, 24.0, 100.0])) * HOUR_S,
    )
    shares = np.sort(random.uniform(0.0, 1.0, 3)).round(3).tolist()
    near = replace(
        base.near,
        trigger=str(random.choice(["tier", "tier", "crossover_or_backwardation"])),
        delta_share=replace(base.near.delta_share, ELEVATED=shares[0], SEVERE=shares[1], CRISIS=shares[2]),
    )
    return replace(base, tiers=tiers, near=near, **_money(random, base))


def _money(random, base):
    perpetual = replace(
        base.perpetual,
        min_funding=float(random.choice([-10.0, -0.3, 0.0])),
        reset_band=float(random.choice([0.01, 0.3, 1.0])),
        max_notional=float(random.choice([0.05, 1.0, 10.0])),
        max_margin=float(random.choice([0.005, 0.1, 1.0])),
        max_slippage=float(random.choice([0.0, 0.0005, 0.005])),
    )
    return {
        "perpetual": perpetual,
        "budget": replace(base.budget, defined_risk_capital=float(random.choice([0.001, 0.03, 1.0]))),
        "orders": replace(base.orders, min_order=float(random.choice([0.0, 0.05, 0.5]))),
        "cost_guard": replace(
            base.cost_guard,
            max_carry_share=float(random.choice([0.0, 0.5])),
            carry_floor=float(random.choice([0.0, 0.0005, 0.0025, 0.1])),
        ),
    }


def random_scores(random, steps):
    """Return rows of scores that linger next to thresholds, leap, and go missing."""
    rows = np.full((at.SCORE_ROWS, steps), np.nan)
    level = np.cumsum(random.normal(0.0, 0.02, (5, steps)) * (random.random((5, steps)) < 0.6), axis=1)
    level += random.uniform(0.1, 0.7, (5, 1)) + 0.4 * (random.random((5, steps)) < 0.02)
    level = np.clip(level, 0.0, 1.0).round(int(random.integers(1, 9)))
    rows[at.SCORE : at.SCORE + 3] = level[:3]
    rows[at.THIRD : at.THIRD + 3] = (level[:3] * random.uniform(0.5, 1.0, (3, 1))).round(9)
    rows[at.FAST_MEAN] = level[3]
    rows[at.FAST_CEILING] = np.maximum(level[3], level[4] * (random.random(steps) < 0.1)).round(9)
    lost = random.random((3, steps)) < 0.02
    rows[at.WORST_SCORE : at.FAST_MEAN][lost] = random.uniform(0.0, 1.0, int(lost.sum())).round(9)
    return rows


def random_flags(random, scores):
    steps = scores.shape[1]
    flags = np.zeros(steps, dtype=np.int64)
    for bit, share in ((at.HOLD, 0.02), (at.DEGRADED, 0.02), (at.NEAR_RELEASE, 0.05), (at.DENIED, 0.05)):
        flags |= np.where(random.random(steps) < share, bit, 0)
    flags |= np.where(random.random(steps) < 0.05, at.NEAR_FIRES, 0)
    flags |= np.where(np.isfinite(scores[at.WORST_SCORE : at.FAST_MEAN]).any(axis=0), at.LOST, 0)
    lone = int(random.integers(0, 4)) * (random.random() < 0.4)
    flags |= np.where(np.arange(steps) < steps // 2, lone, 0) << at.LONE_SHIFT
    forced = np.where(random.random(steps) < 0.01, random.integers(2, 5, steps), 0)
    return flags | forced << at.FORCED_SHIFT


def calm_inputs(random, steps):
    """Return tapes that stand still for long and are jerked about now and then: whole tiles pass unseen."""
    inputs = random_inputs(random, steps)
    tape, rows = inputs.tape, inputs.market.rows
    is_wild = np.repeat(random.random(steps // 100 + 1) < 0.3, 100)[:steps]
    held = np.maximum.accumulate(np.where(is_wild, np.arange(steps), 0))  # the last wild step until each
    slowly = 1.0 + 1e-4 * np.sin(np.arange(steps) / 50.0)
    rows[at.SPOT_USD] = rows[at.SPOT_USD, held] * slowly
    rows[at.RATE] = rows[at.RATE, held]
    market = replace(inputs.market, times_s=1.6e9 + HOUR_S * np.arange(steps))
    tape = replace(
        tape,
        times_s=market.times_s,
        scores=np.ascontiguousarray(tape.scores[:, held]),
        flags=np.where(is_wild, tape.flags, 0),
    )
    return replace(inputs, tape=tape, market=market, stress=inputs.stress[held])


def random_inputs(random, steps, *, by_hold=False):
    """Return tapes of a made-up history with falls, rises, missing funding and a hole."""
    gaps_s = np.where(random.random(steps) < 0.01, 40.0 * HOUR_S, float(random.choice([60.0, HOUR_S])))
    times_s = 1.6e9 + np.cumsum(gaps_s)
    scores = random_scores(random, steps)
    leaps = random.normal(0.0, 0.1, steps) * (random.random(steps) < 0.02)
    prices = 2000.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, steps) + leaps))
    rates = np.where(random.random(steps) < 0.05, np.nan, random.normal(0.05, 0.3, steps))
    rows = np.zeros((at.MARKET_ROWS, steps))
    rows[at.SPOT_USD], rows[at.RATE] = prices, rates
    rows[at.FEES_UNCOLLECTED_USD] = np.cumsum(random.uniform(0.0, 20.0, steps))
    rows[at.INCOME_USD] = random.uniform(0.0, 20_000.0) * (random.random() < 0.5)
    rows[at.INTEGRAL] = np.cumsum(np.nan_to_num(rates) * gaps_s) / (365 * 86_400.0)
    rows[at.ACCRUES] = np.where(np.arange(steps) > 0.95 * steps, 0.0, 1.0)
    rows[at.COST], rows[at.GAS_USD] = random.choice([0.0, 0.0015, 0.01]), random.choice([0.0, 5.0])
    terms = np.zeros(at.TERMS)
    terms[at.INITIAL_MARGIN], terms[at.MAINTENANCE_MARGIN], terms[at.PENALTY] = 0.1, 0.0625, 0.025
    terms[at.LOT], terms[at.MAX_UNITS] = random.choice([0.001, 1.0]), random.choice([20.0, 50_000.0])
    return Inputs(
        tape=TierTape(
            times_s=times_s,
            blocks=(times_s // 12).astype(np.int64) * int(random.random() < 0.7),
            scores=scores,
            flags=random_flags(random, scores),
        ),
        market=MarketTape(times_s=times_s, rows=rows, terms=terms, **_shapes(random, prices)),
        grid=spot_grid(WITHOUT_OPTIONS.sizing, 1.0),
        stress=1.0 + random.uniform(0.0, 0.3, steps).round(2),
        by_hold=by_hold,
    )


def _shapes(random, prices):
    """Return a position that is opened anew half way, v2 or in a range."""
    half, shapes = prices.size // 2, []
    for spot in (prices[0], prices[half]):
        lower, upper = (0.0, np.inf) if random.random() < 0.5 else (0.8 * spot, 1.25 * spot)
        kept = -1.0 if random.random() < 0.5 else 250.0
        shapes.append([1e6 / (2.0 * np.sqrt(spot)), lower, upper, kept])
    return {"shapes": np.array(shapes), "shape_from": np.array([0, half], dtype=np.int64)}
