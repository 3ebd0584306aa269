"""The backtest as a user runs it."""

from pathlib import Path

from bot.app.policy import keys_of
from bot.engine.policy import parse_policy
from bot.model.units import parse_utc_s
from bot.settings import read_source
from bot.simulation.backtest import Progress, run_backtest
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.span import end_s
from bot.simulation.history.tables import load_history, lookback_for
from bot.simulation.market.model import load_market
from bot.simulation.report.data import from_backtest
from bot.simulation.report.files import write_report
from bot.simulation.results import BacktestResult


async def backtest(
    *,
    data: Path,
    start: str,
    end: str,
    exposure: str,
    policy: str,
    market: Path | None,
    report: Path | None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run alvh and the benchmarks from the first to the end of the last day, both UTC."""
    spec, source = parse_exposure(exposure), read_source(policy)
    chosen = parse_policy(source.table)
    assumptions = load_market(market)
    from_s, to_s = parse_utc_s(start, field="--from"), end_s(end)
    lookback_s = lookback_for(chosen.sizing.history_days)
    history = load_history(data, spec=spec, from_s=from_s, to_s=to_s, lookback_s=lookback_s)
    result = await run_backtest(history, spec, chosen, assumptions, progress=progress)
    if report is not None:
        write_report(from_backtest(result, policy=keys_of(source)), report)
    return result
