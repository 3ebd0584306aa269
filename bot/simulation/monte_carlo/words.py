"""What a Monte Carlo run assumes and what its rules leave out of the engine's, in sentences."""

from bot.model.units import iso_utc
from bot.simulation.monte_carlo.bootstrap import DailyHistory
from bot.simulation.monte_carlo.run import Setup

SIMPLIFIED = (
    "Tiers come from the path alone: on-chain and fundamental signals are there and calm. TECHNICAL's score "
    "follows the implied vol's level, the day's rise of it and the day's move, its third score is less by a "
    "fixed part; with these over `vote` and `vote_off` it is GUARDED. "
    "The fast mean follows S24 and S25 of the day; over `fast_vote` it is ELEVATED. Down after the cooldown, "
    "with both low (R3). SEVERE and CRISIS need another family's vote, or R2's two price sources: no path "
    "has them.",
    "Steps are days: what a tier orders is filled at that day's close. Funding of a day is that of its end.",
    "Contracts per unit of the position's delta are solved once for each tier (R7, R8), on the model's "
    "own paths "
    "at its median vol. A tier that rises opens MID and NEAR and does not enlarge TAIL before it is "
    "bought anew.",
    "A layer holds one option, in the middle of its bands of expiry and delta; its expiry follows a "
    "calendar, TAIL is "
    "no ladder. It is rolled at roll_at or settled, and sold when the tier closes the layer (R17, R18).",
    "R9's budgets of 30 and 365 days run from day 0 in blocks. R5, R6, R10, R11, R15, R16 and R28 are "
    "left out.",
    "The perpetual is always margined: no liquidation. Options trade in any size, lots and liquidity are "
    "left out.",
    "A loss over 10 days is a share of what the unhedged position was worth at their start.",
    "The skew's curvature is its usual one, gas its usual one but for stress.",
)


def path_words(setup: Setup, kind: str, history: DailyHistory | None) -> tuple[str, ...]:
    """Return what the paths and the market assume."""
    market, options = setup.market, setup.market.options
    lines = list(setup.model.assumptions()) if history is None else list(_drawn(setup, history))
    lines.append(
        f"Options: Black-Scholes-Merton at rate 0 on the market file's term structure (half-life "
        f"{market.half_life_days:g} days) and skew; half the spread is the larger of "
        f"{options.spread_share:.0%} of "
        f"premium and {100 * options.spread_vol:g} vol points, up to {1 + options.spread_stress:g} times "
        f"that in "
        f"stress, a fee of {options.notional_share:.2%} of notional, and {options.gas_usd:g} USD of gas."
    )
    if market.perpetual is not None:
        lines.append(f"A perpetual costs {market.perpetual.cost:.2%} of notional each way.")
    if len(setup.specs) > 1:
        lines.append(
            "Several exposures are hedged apart and measured together; the tier shown is the highest."
        )
    lines.append(f"{kind}: {setup.count:,} paths of {setup.steps:,} days, seed {setup.seed}.")
    return tuple(lines)


def _drawn(setup: Setup, history: DailyHistory) -> tuple[str, ...]:
    block = setup.model.bootstrap.block_days
    return (
        f"Days are drawn in blocks of {block:g} days on average (stationary bootstrap) from "
        f"{history.times_s.size:,} daily returns of {' and '.join(history.assets)}, "
        f"{iso_utc(history.times_s[0])[:10]} to {iso_utc(history.times_s[-1])[:10]}, shifted to the "
        f"model's drift; no "
        "block runs over a missing day.",
        f"The vol along a path is the EWMA ({setup.model.bootstrap.vol_decay:g}) of its own returns, "
        f"implied vol "
        "follows it as the model says.",
    )
