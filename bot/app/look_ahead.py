"""The look-ahead check as a user runs it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bot.errors import ConfigError
from bot.settings import named_policy
from bot.simulation.backtest import Progress
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.span import asked_bounds, history_span
from bot.simulation.history.tables import load_history, lookback_for, price_file
from bot.simulation.look_ahead import AFTER_S, BEFORE_S, LookAhead, Probe, check_at, probe_times
from bot.simulation.market.model import load_market
from bot.simulation.windows.comparison import policy_name, refuse_one_name

MOST_PROBES = 1_000


def look_ahead(
    *,
    data: Path,
    exposure: str,
    policies: Sequence[str],
    market: Path | None,
    start: str | None,
    end: str | None,
    probes: int,
    seed: int,
    progress: Progress | None = None,
) -> LookAhead:
    """Probe policies and benchmarks at ``probes`` moments of a history; one in a hole is left out.

    Raises ConfigError for what cannot be read, and where no moment has a price.
    """
    if not 1 <= probes <= MOST_PROBES:
        raise ConfigError(f"--probes must be between 1 and {MOST_PROBES}, was {probes}")
    refuse_one_name(policies)
    spec, assumed = parse_exposure(exposure), load_market(market)
    named = {policy_name(name): named_policy(name) for name in policies}
    (first_s, last_s), (low_s, high_s) = history_span(data, spec), asked_bounds(start, end)
    first_s, last_s = max(first_s, low_s), min(last_s, high_s)
    price, found = price_file(data, spec), list[Probe]()
    lookback_s = max(lookback_for(policy.sizing.history_days) for policy in named.values())
    times_s = probe_times(first_s, last_s, probes=probes, seed=seed)
    for done, at_s in enumerate(times_s, start=1):
        near = price.until(at_s + AFTER_S).since(at_s - BEFORE_S).times_s
        if near.size and near[0] <= at_s < near[-1]:
            history = load_history(
                data, spec, from_s=at_s - BEFORE_S, to_s=at_s + AFTER_S, lookback_s=lookback_s
            )
            found.extend(asyncio.run(check_at(history, spec, named, assumed, at_s=at_s, seed=seed)))
        if progress:
            progress(done, len(times_s))
    if not found:
        raise ConfigError(f"no moment to probe has a price in {data}; choose another --from and --to")
    return LookAhead(probes=tuple(found))
