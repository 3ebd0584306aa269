"""What a backtest over windows and a sweep run over: for the same request the same stretches of history."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.market import Column
from bot.model.units import DAY_S
from bot.simulation.exposures import ExposureSpec, parse_exposure
from bot.simulation.history.span import asked_bounds, history_span
from bot.simulation.history.tables import whole_price
from bot.simulation.market.model import HOLE_S
from bot.simulation.requests import HistoryRequest
from bot.simulation.windows.file import Segment, Window, history_segments, read_windows, segments_of

MOST_LEAD_DAYS = 3_650.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretches:
    """What was asked for, read."""

    spec: ExposureSpec
    windows: tuple[Window, ...]  # of the file, also those that no segment has
    price: Column  # the whole file
    segments: tuple[Segment, ...]  # none runs across a hole; at least one has a window


def stretches_of(request: HistoryRequest) -> Stretches:
    """Read the windows and find what is run for them.

    Raises ConfigError for files or an exposure that cannot be read, and where no window has a price.
    """
    lead = request.lead_days
    if lead is not None and not 0.0 <= lead <= MOST_LEAD_DAYS:
        raise ConfigError(f"--lead must be between 0 and {MOST_LEAD_DAYS:g} days, was {lead:g}")
    spec, windows = parse_exposure(request.exposure), read_windows(request.windows)
    price = whole_price(request.data, spec)
    segments = _segments(request, spec, windows, price)
    if not any(item.windows for item in segments):
        raise ConfigError(
            f"no window of {request.windows} has a price in {request.data}; give windows inside its history"
        )
    return Stretches(spec=spec, windows=windows, price=price, segments=segments)


def _segments(
    request: HistoryRequest, spec: ExposureSpec, windows: Sequence[Window], price: Column
) -> tuple[Segment, ...]:
    low_s, high_s = asked_bounds(request.start, request.end)
    if request.lead_days is None:
        from_s, to_s = history_span(request.data, spec)
        return _between_holes(price, windows, max(from_s, low_s), min(to_s, high_s))
    leads = segments_of(windows, lead_s=request.lead_days * DAY_S)
    found = [
        part
        for item in leads
        for part in _between_holes(price, item.windows, max(item.start_s, low_s), min(item.end_s, high_s))
    ]
    return tuple(part for part in found if part.windows)


def _between_holes(
    price: Column, windows: Sequence[Window], from_s: float, to_s: float
) -> tuple[Segment, ...]:
    return history_segments(price.times_s, windows, from_s=from_s, to_s=to_s, hole_s=HOLE_S)
