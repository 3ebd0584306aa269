"""Makes the seeded paths of a scenario: hourly first, then as fine as its steps, on which no hour depends.

Every seed differs in detail and hits the same calibration: noise is zero at each knot. Values are rounded, so
that a last-bit difference of exp or sqrt between machines reaches neither a decision nor a chain.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bot.errors import InvariantError
from bot.model.market import FloatArray
from bot.model.units import HOUR_S, YEAR_S
from bot.simulation.stress.description import Fall, PathSpec, Scenario
from bot.simulation.stress.noise import Knots, bridge, curve, generator, ornstein_uhlenbeck, steady_bridge

PRICE, BTC = "eth_usd", "btc_usd"
_ATTEMPTS = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """The paths of one seed on the grid of steps; the first point is at hour 0."""

    scenario: Scenario
    seed: int
    hours: FloatArray  # of each step, from the first point
    values: Mapping[str, FloatArray]

    @property
    def times_s(self) -> FloatArray:
        return self.scenario.start_s + self.hours * HOUR_S

    def __getitem__(self, name: str) -> FloatArray:
        return self.values[name]

    def hourly(self, name: str) -> FloatArray:
        """Return a path's values at whole hours."""
        return self.values[name][:: self.scenario.steps_an_hour]

    def vols(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the at-the-money vols at 7, 30 and 90 days, fractions a year."""
        surface, index = self.scenario.vol, self.values["dvol"]
        stress = np.clip((index - surface.from_points) / (surface.to_points - surface.from_points), 0.0, 1.0)
        at_30d = index / 100.0 + surface.eth_over_btc / 100.0
        front, back = (low + (high - low) * stress for low, high in (surface.front, surface.back))
        return np.round(at_30d * front, 5), np.round(at_30d, 5), np.round(at_30d * back, 5)


def build_paths(scenario: Scenario, seed: int) -> Paths:
    """Return the paths of a seed, any integer >= 0; repeatable to the digit. Raises ConfigError."""
    random = generator(seed, stream=scenario.stream)
    hourly: dict[str, FloatArray] = {}
    for spec in scenario.paths:  # one stream, in the order of the file
        hourly[spec.name] = _hourly(spec, scenario, random, hourly)
    for spec in scenario.standing:
        own = named_generator(scenario, seed, spec.name)
        follows = spec.name == BTC  # ETH, unless the file states a path of its own
        found = _follower(spec, own, hourly[PRICE]) if follows else _hourly(spec, scenario, own, hourly)
        hourly[spec.name] = found
    specs = {spec.name: spec for spec in (*scenario.paths, *scenario.standing)}
    grid = np.arange(scenario.steps + 1) / scenario.steps_an_hour
    values = {name: _finer(specs[name], scenario, seed, path, grid) for name, path in hourly.items()}
    return Paths(scenario=scenario, seed=seed, hours=grid, values=values)


def named_generator(scenario: Scenario, seed: int, name: str) -> np.random.Generator:
    """Return a generator of its own for everything that has a name."""
    return generator(seed, stream=(zlib.crc32(name.encode()) << 8) + scenario.stream)


def _hourly(
    spec: PathSpec, scenario: Scenario, random: np.random.Generator, found: Mapping[str, FloatArray]
) -> FloatArray:
    hours = scenario.hours
    if spec.is_step:
        return _steps(spec.knots, np.arange(hours + 1, dtype=np.float64))
    if spec.fall is not None:
        path = _falling(spec, spec.fall, random, hours)
    else:
        path = _level(spec, random, hours)
        if spec.lag:
            log_price = np.log(found[PRICE])
            path = path - spec.lag * np.diff(log_price, prepend=log_price[0])
    path = np.clip(path, *spec.bounds)
    for hour, value in spec.pins.items():
        path[int(hour)] = value
    return np.round(path, spec.digits)


def _level(spec: PathSpec, random: np.random.Generator, hours: int) -> FloatArray:
    """Return curve and noise, before a lag is taken off and bounds are kept."""
    knots = _logs(spec.knots) if spec.is_log else spec.knots
    path = curve(knots, hours)
    if spec.walk is not None:
        walk = spec.walk
        path = path + steady_bridge(
            random,
            hours,
            sigma=walk.vol * math.sqrt(HOUR_S / YEAR_S),
            max_excursion=walk.max_excursion,
            max_day=walk.max_day,
            steadiness=walk.steadiness,
        )
    if spec.noise is not None:
        path = path + bridge(random, spec.knots, curve(spec.noise, hours)[1:])
    if spec.reverting is not None:
        noise = ornstein_uhlenbeck(random, hours, sigma=spec.reverting.sigma, bound=spec.reverting.bound)
        path = path + noise
    return np.asarray(np.exp(path) if spec.is_log else path)


def _follower(spec: PathSpec, random: np.random.Generator, price: FloatArray) -> FloatArray:
    """Return BTC: its first knot, moved by ``lag`` (its beta to ETH) times ETH's log return, and noise."""
    path = np.log(spec.knots[0]) + spec.lag * np.log(price / price[0])
    if spec.reverting is not None:
        noise = ornstein_uhlenbeck(
            random, price.size - 1, sigma=spec.reverting.sigma, bound=spec.reverting.bound, start=0.0
        )
        path = path + noise
    return np.asarray(np.round(np.exp(path), spec.digits))


def _falling(spec: PathSpec, fall: Fall, random: np.random.Generator, hours: int) -> FloatArray:
    """Return a price whose calibrated falls stay the worst ones. Raises InvariantError."""
    peak_at, low_at = peak_and_low(spec.knots)
    peak, low = spec.knots[peak_at], spec.knots[low_at]
    base = curve(_logs(spec.knots), hours)
    noise = bridge(random, spec.knots, curve(spec.noise or {0: 0.0}, hours)[1:])
    for attempt in range(_ATTEMPTS):
        price = np.clip(np.exp(base + noise * 0.9**attempt), fall.inside[0] * low, fall.inside[1] * peak)
        price[peak_at], price[low_at] = peak, low
        _soften(price, spec.knots, fall)
        if _is_lawful(price, fall):
            return price
    raise InvariantError(
        f"{spec.name}: no damping in {_ATTEMPTS} steps keeps the calibrated falls the worst ones"
    )


def peak_and_low(knots: Knots) -> tuple[int, int]:
    """Return the hours of the lowest knot and of the highest one before it."""
    low_at = min(knots, key=lambda hour: knots[hour])
    peak_at = max((hour for hour in knots if hour <= low_at), key=lambda hour: knots[hour])
    return peak_at, low_at


def _soften(price: FloatArray, knots: Knots, fall: Fall) -> None:
    """Lift, in place, every free point that would fall further in an hour or a day than it may."""
    for hour in range(1, len(price)):
        if hour in knots:
            continue
        floor = (1.0 - fall.softened_hour) * price[hour - 1]
        if hour >= 24:
            floor = max(floor, (1.0 - fall.softened_day) * price[hour - 24])
        price[hour] = max(price[hour], floor)


def _is_lawful(price: FloatArray, fall: Fall) -> bool:
    """The worst hour and the worst day are the calibrated ones and no others."""
    hour_return = np.delete(price[1:] / price[:-1] - 1.0, fall.worst_hour_at - 1)
    day_return = np.delete(price[24:] / price[:-24] - 1.0, fall.worst_day_at - 24)
    return bool(hour_return.min() > -fall.least_hour and day_return.min() > -fall.least_day)


def _finer(spec: PathSpec, scenario: Scenario, seed: int, hourly: FloatArray, grid: FloatArray) -> FloatArray:
    """Return a path on the grid of steps: between whole hours straight, a price with noise of its own."""
    parts = scenario.steps_an_hour
    if parts == 1:
        return hourly
    if spec.is_step:
        return _steps(spec.knots, grid)
    at = np.arange(hourly.size, dtype=np.float64)
    path = np.interp(grid, at, hourly)
    if spec.is_log and spec.noise is not None:
        sigma = np.repeat(curve(spec.noise, scenario.hours)[1:], parts) / math.sqrt(parts)
        random = named_generator(scenario, seed, f"{spec.name} within the hour")
        pinned = dict.fromkeys(range(0, scenario.steps + 1, parts), 0.0)
        path = np.exp(np.interp(grid, at, np.log(hourly)) + bridge(random, pinned, sigma))
        path = np.clip(path, 1.0005 * hourly.min(), 0.9995 * hourly.max())  # beyond are the wicks alone
        path[::parts] = hourly
    for hour, value in spec.wicks.items():
        path[round(hour * parts)] = value
    return np.round(path, spec.digits)


def _steps(knots: Knots, hours: FloatArray) -> FloatArray:
    starts = np.array(list(knots), dtype=np.float64)
    values = np.array(list(knots.values()), dtype=np.float64)
    return values[np.maximum(np.searchsorted(starts, hours, side="right") - 1, 0)]


def _logs(knots: Knots) -> Knots:
    return {hour: math.log(value) for hour, value in knots.items()}
