"""What a backtest assumes of the market, as lines for a person."""

from typing import TYPE_CHECKING

from bot.model.units import HOUR_S

if TYPE_CHECKING:
    from bot.simulation.market.model import Market


def assumptions_of(market: "Market", underlying: str) -> tuple[str, ...]:
    """Return every assumption as a line."""
    return (
        _vol(market, underlying),
        f"Term structure is modelled: variance reverts with a half-life of {market.half_life_days:g} days "
        f"to its {market.mean_days:g}-day mean. S13 therefore says nothing that the level does not.",
        _skew(market),
        *_costs(market),
        _listing(market),
        _perpetual(market),
        "An option settles at the last hourly close before expiry; where that is a hole in the "
        "history, at the first close after it.",
        _position(market),
        "Prices are hourly closes in USDT, taken as USD; wicks inside the hour are not seen.",
    )


def _vol(market: "Market", underlying: str) -> str:
    own = "" if underlying == "BTC" else f" times what {underlying} has realised over BTC"
    without = (
        "in hours without DVOL it follows realised vols by the same regression"
        if market.realised.fills
        else "in hours without DVOL it is unknown and nothing is quoted"
    )
    return (
        f"Implied volatility of {underlying} is BTC DVOL{own}, both by a regression on realised vols of a "
        f"day, a week and a month; {without}. Its vol index is BTC DVOL as published."
    )


def _skew(market: "Market") -> str:
    options = market.options
    return (
        f"Skew is modelled: vol x (1 - s x + {options.skew_curvature:g} u x^2), x in standard deviations, "
        f"s from {options.skew_calm:g} in calm to {options.skew_stress:g} in stress (30-day vol of "
        f"{options.stress_from_vol:.0%} to {options.stress_to_vol:.0%}), u how unsteady the index is."
    )


def _costs(market: "Market") -> tuple[str, ...]:
    options = market.options
    return (
        "Options are valued by Black-Scholes-Merton at rate 0. Half the spread is the larger of "
        f"{options.spread_share:.0%} of premium (measured on Lyra) and {100 * options.spread_vol:g} vol "
        f"points, {100 * options.impact_vol:g} more for {options.impact_contracts:g} contracts, "
        f"x {1 + options.spread_stress:g} in full stress, and {options.notional_share:.2%} of notional.",
        f"An order's gas is {options.gas_usd:g} USD, x {1 + options.gas_stress:g} in full stress, and in "
        f"proportion on days after mainnet's gas was over {options.gas_gwei:g} gwei.",
    )


def _listing(market: "Market") -> str:
    options = market.options
    return (
        f"Listed are {options.weeklies} weekly expiries and month ends to {options.month_ends_dte:g} d, "
        f"at |delta| {options.min_abs_delta:g} to {options.max_abs_delta:g}; "
        f"no trade in the last {options.cutoff_s / HOUR_S:g} h."
    )


def _position(market: "Market") -> str:
    fees = (
        f"LP fees accrue at {market.fee_apr:.1%} of value a year."
        if market.fee_apr
        else "LP fees are left out, of every strategy alike."
    )
    return (
        "The position is opened at the first price. One without a range keeps its liquidity; one with a "
        f"range is opened anew around the price every {market.recentre_days:g} days, at "
        f"{market.recentre_cost:.2%} of what is swapped for it. {fees}"
    )


def _perpetual(market: "Market") -> str:
    perpetual = market.perpetual
    if perpetual is None:
        return "No perpetual is quoted: where a policy wants one for NEAR (R27), puts stand in for it."
    return (
        f"A perpetual trades at the spot price, {perpetual.cost:.2%} each way and {perpetual.gas_usd:g} USD "
        f"of gas an order; margin {perpetual.initial_margin:.0%}, liquidated under "
        f"{perpetual.maintenance_margin:.2%} for {perpetual.penalty:.1%}. Funding is the exchange's, each "
        "rate held until the next; in hours without one nothing is opened. Margin stays the account's own."
    )
