"""Where the history of an exposure begins and ends, and what of its files cannot be used as it stands."""

import math
from datetime import date
from pathlib import Path

import numpy as np

from bot.errors import ConfigError
from bot.model.units import DAY_S, HOUR_S, iso_utc, parse_utc_s
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.files import funding_table, tables_for
from bot.simulation.history.tables import locate, read_rows, whole_price

_FIRST_LOOKBACK_S = 30 * DAY_S


def data_problems(data_dir: Path, spec: ExposureSpec, *, lookback_s: float) -> tuple[str, ...]:
    """Return a line for each kind of row that a file has and that is not used as it stands, and for each hole
    in a required file that is longer than the look-back: nothing before it counts after it.

    Raises ConfigError like ``load_history``.
    """
    found = []
    for table in tables_for(spec):
        path = locate(data_dir, table)
        if path is None:
            continue
        rows, bad = read_rows(path, table)
        found += [f"{path.name}: {line}" for line in bad]
        for at in np.flatnonzero(np.diff(rows["at_s"]) > lookback_s) if table.is_required else ():
            from_s, to_s = float(rows["at_s"][at]), float(rows["at_s"][at + 1])
            found.append(
                f"{path.name}: no rows for {(to_s - from_s) / DAY_S:,.0f} days between {iso_utc(from_s)} and "
                f"{iso_utc(to_s)}, longer than the look-back of {lookback_s / DAY_S:,.0f} days"
            )
    return tuple(dict.fromkeys(found))


def history_span(data_dir: Path, spec: ExposureSpec) -> tuple[float, float]:
    """Return where the whole history of an exposure begins and ends, seconds.

    It begins with the perpetual's funding, where there is any, and a month after the first price at the
    earliest: before that signals have no look-back. Raises ConfigError like ``load_history``.
    """
    price = whole_price(data_dir, spec)
    first_s, last_s = float(price.times_s[0]), float(price.times_s[-1])
    begins_s = first_s + _FIRST_LOOKBACK_S if last_s - first_s > 2 * _FIRST_LOOKBACK_S else first_s
    table = funding_table(spec.underlying)
    path = locate(data_dir, table)
    if path is not None:
        rows, _ = read_rows(path, table)
        if rows["at_s"].size:
            begins_s = max(begins_s, float(rows["at_s"][0]))
    return math.floor(begins_s / HOUR_S) * HOUR_S, math.ceil(last_s / HOUR_S) * HOUR_S


def asked_bounds(start: str | None, end: str | None) -> tuple[float, float]:
    """Return --from and --to, seconds; infinities where they are not said. Raises ConfigError."""
    from_s = -math.inf if start is None else float(parse_utc_s(start, field="--from"))
    to_s = math.inf if end is None else float(end_s(end))
    if not from_s + HOUR_S <= to_s:
        raise ConfigError(
            f"--from must be at least an hour before --to, was {iso_utc(from_s)} to {iso_utc(to_s)}"
        )
    return from_s, to_s


def end_s(text: str) -> int:
    """Return where a range ends: with a last day, which is in it, or at a time. Raises ConfigError."""
    at_s = parse_utc_s(text, field="--to")
    return at_s + DAY_S if _is_day(text) else at_s


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
