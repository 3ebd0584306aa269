"""What the bot reads in a scenario: the paths as observations of the sources that a live run would watch.

Sizes of pools and markets are assumed and do not matter: every signal reads them against themselves.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.base_layers import BaseHoldings, Cover, Loan, ReserveHolding
from bot.model.exposure import Exposure
from bot.model.market import Block, Column, Columns, FloatArray, Metric, SeriesKey
from bot.model.units import DAY_S, HOUR_S, MINUTE_S
from bot.pipeline.loop import Moment
from bot.quant.bridges import LOCKED, MINTED
from bot.simulation.exposures import ExposureSpec, at_price
from bot.simulation.market.model import VOL_SOURCE
from bot.simulation.stress.description import Fault, FaultKind, Scenario
from bot.simulation.stress.history import history_values
from bot.simulation.stress.paths import PRICE, Paths

STABLES = ("DAI", "USDC", "USDT")
STABLE_POOL = "curve:DAI/USDC/USDT"
LOAN = "loan"
STABLE_ENTRY = "stable"  # in a scenario's dependencies: the stable of the exposure
_POOL_QUOTE_USD = 20e6
_STABLE_POOL_UNITS = 500e6
_SUPPLIED_UNITS = 300e6
_TWAP_S = 30 * MINUTE_S
_NEAR = 1.0 - math.sqrt(0.98)  # of the quote of x y = k, within 2 % of price
_DEEP = math.sqrt(1.02) - 1.0
_FUNDINGS_A_YEAR = 3 * 365
_BLOCK_S = 12
_RESERVE_PART = 0.05  # of exposure, in each of two stables: RESERVE as R21 wants it
_COVER_PART = 0.05  # of exposure, R20's share of an exchange
_COVER_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """One seed of a scenario, as one exposure sees it."""

    scenario: Scenario
    paths: Paths
    spec: ExposureSpec
    columns: Columns
    seen: FloatArray  # hours of the steps at which there is a frame
    base: BaseHoldings


def build_world(paths: Paths, spec: ExposureSpec) -> World:
    """Return all observations of a scenario. Raises ConfigError for an exposure that it does not move."""
    if spec.underlying != "ETH" or spec.stable not in STABLES:
        raise ConfigError(
            f"--exposure: scenarios move ETH and price {', '.join(STABLES)}; was {spec.pool}, "
            "give one such as v2:ETH/USDC:1000000"
        )
    scenario = paths.scenario
    live = dict(_observed(paths, spec))
    before = history_values(scenario, paths.seed, levels={key: float(path[0]) for key, path in live.items()})
    any_history = next(iter(before.values()))
    earlier_s = scenario.start_s - HOUR_S * np.arange(any_history.size, 0, -1, dtype=np.float64)
    series = {
        key: _column(key, earlier_s, before[key], paths, values) for key, values in live.items()
    } | _prints(scenario)
    return World(
        scenario=scenario,
        paths=paths,
        spec=spec,
        columns=Columns(series=series),
        seen=_seen(paths),
        base=_holdings(scenario, spec),
    )


def _seen(paths: Paths) -> FloatArray:
    """Return the hours of the steps that have a frame. Raises ConfigError where none has."""
    unseen = [fault for fault in paths.scenario.faults if fault.kind is FaultKind.UNSEEN]
    seen = [hour for hour in paths.hours.tolist() if not any(each.holds(hour) for each in unseen)]
    if not seen:
        raise ConfigError(f"scenario {paths.scenario.name} has no step with a frame; leave some seen")
    return np.array(seen)


def with_dependencies(policy: Policy, scenario: Scenario, spec: ExposureSpec) -> Policy:
    """Return the policy that knows what the exposure's stable depends on in this scenario."""
    if not scenario.dependencies:
        return policy
    labels = dict(policy.dependencies)
    for name, parts in scenario.dependencies.items():
        owner = spec.stable if name == STABLE_ENTRY else name
        labels[owner] = tuple(sorted({*labels.get(owner, ()), *parts}))
    return replace(policy, dependencies=tuple(sorted(labels.items())))


def moments(world: World) -> Iterator[Moment]:
    """Yield one moment for each step that the bot sees."""
    scenario, spec = world.scenario, world.spec
    prices = dict(zip(world.paths.hours.tolist(), world.paths[PRICE].tolist(), strict=True))
    entry = spec.open_at(prices[0.0])
    for hour in world.seen.tolist():
        now_s = scenario.start_s + hour * HOUR_S
        exposure = at_price(entry, prices[hour])
        yield Moment(
            now_s=now_s,
            blocks={exposure.chain_id: _block(exposure, now_s)},
            columns=Columns(series={key: item.until(now_s) for key, item in world.columns.series.items()}),
            exposures=(exposure,),
            base=world.base,
        )


def _block(exposure: Exposure, now_s: float) -> Block:
    number = int(now_s) // _BLOCK_S
    return Block(
        chain_id=exposure.chain_id,
        number=number,
        hash=f"simulated:{number}",
        parent_hash=f"simulated:{number - 1}",
        timestamp_s=int(now_s),
    )


def _observed(paths: Paths, spec: ExposureSpec) -> Iterator[tuple[SeriesKey, FloatArray]]:
    """Yield every series that is watched, on the grid of steps."""
    yield from _market(paths, spec)
    yield from _pool(paths, spec)
    yield from _stables(paths)
    yield from _lending(paths)
    for metric, name in ((Metric.BASE_FEE_GWEI, "gas_gwei"), (Metric.PRIORITY_FEE_GWEI, "priority_gwei")):
        yield SeriesKey(metric, "1", "fee_history"), paths[name]
    for metric, name in ((Metric.PAUSED, "paused"), (Metric.UPGRADED, "upgraded")):
        yield SeriesKey(metric, spec.protocol, "admin_events"), paths[name]
    # Other pools of the protocol: watched, but no part of what the position depends on (R1).
    others = SeriesKey(Metric.TOKEN_UNITS, f"{spec.protocol}-others/{spec.stable}", "balances")
    yield others, _STABLE_POOL_UNITS * paths["vault_share"]
    if paths.scenario.systems.bridge:
        locked = f"{paths.scenario.systems.bridge}/{spec.stable}"
        yield SeriesKey(Metric.TOKEN_UNITS, locked, LOCKED), _SUPPLIED_UNITS * paths["bridge_locked"]
        minted = SeriesKey(Metric.TOKEN_UNITS, locked, f"{MINTED}:here")
        yield minted, _SUPPLIED_UNITS * paths["bridge_minted"]


def _market(paths: Paths, spec: ExposureSpec) -> Iterator[tuple[SeriesKey, FloatArray]]:
    pool_usd = paths[PRICE] * (1.0 + paths["pool_gap"])
    yield SeriesKey(Metric.PRICE_USD, "ETH", "chainlink:ETH/USD"), paths[PRICE]
    yield SeriesKey(Metric.PRICE_USD, "ETH", f"twap:{spec.pool}"), _trailing_mean(pool_usd, paths.scenario)
    yield SeriesKey(Metric.PRICE_USD, "BTC", "chainlink:BTC/USD"), paths["btc_usd"]
    funding = paths["funding_8h"] / 100.0 * _FUNDINGS_A_YEAR
    yield SeriesKey(Metric.FUNDING_APR, "ETH", "binance"), funding
    for metric, values in zip((Metric.IV_7D, Metric.IV_30D, Metric.IV_90D), paths.vols(), strict=True):
        yield SeriesKey(metric, "ETH", VOL_SOURCE), values
    yield SeriesKey(Metric.VOL_INDEX, "ETH", VOL_SOURCE), paths["dvol"] / 100.0


def _trailing_mean(values: FloatArray, scenario: Scenario) -> FloatArray:
    """Return the mean of the last half hour, as a pool's oracle gives it."""
    many = max(_TWAP_S // scenario.step_s, 1)
    if many == 1:
        return values
    padded = np.concatenate([np.full(many - 1, values[0]), values])
    return np.convolve(padded, np.full(many, 1.0 / many), mode="valid")


def _pool(paths: Paths, spec: ExposureSpec) -> Iterator[tuple[SeriesKey, FloatArray]]:
    """The pool of the exposure: v2, or v3 with all of its liquidity as narrow as the position."""
    share, price = paths["lp_share"], paths[PRICE]
    quote_usd = _POOL_QUOTE_USD * share * np.sqrt(price / price[0])
    narrow = 1.0 / (1.0 - math.sqrt(max(1.0 + spec.below, 0.0))) if spec.below > -1.0 else 1.0
    measures = {
        Metric.POOL_PRICE_USD: price * (1.0 + paths["pool_gap"]),
        Metric.POOL_LIQUIDITY: 1e6 * share,
        Metric.POOL_QUOTE_USD: quote_usd,
        Metric.POOL_QUOTE_NEAR_USD: quote_usd * min(_NEAR * narrow, 1.0),
        Metric.POOL_DEPTH_USD: quote_usd * min(_DEEP * narrow, 1.0),
    }
    for metric, values in measures.items():
        yield SeriesKey(metric, spec.pool, "pool"), values


def _stables(paths: Paths) -> Iterator[tuple[SeriesKey, FloatArray]]:
    """Prices by two kinds of sources, and a pool of the three."""
    shares = {"USDC": paths["stable_pool_usdc"], "USDT": paths["stable_pool_usdt"]}
    shares["DAI"] = np.maximum(1.0 - shares["USDC"] - shares["USDT"], 0.0)
    for stable in STABLES:
        price = paths[f"{stable.lower()}_usd"]
        second = price * (1.0 + paths["usdc_second_gap"])
        yield SeriesKey(Metric.PRICE_USD, stable, f"chainlink:{stable}/USD"), price
        yield SeriesKey(Metric.PRICE_USD, stable, STABLE_POOL), second
        units = _STABLE_POOL_UNITS * paths["stable_pool_flow"] * shares[stable]
        yield SeriesKey(Metric.TOKEN_UNITS, f"{STABLE_POOL}/{stable}", "curve"), units
        yield SeriesKey(Metric.POOL_SHARE, f"{STABLE_POOL}/{stable}", "curve"), shares[stable]
    depth = SeriesKey(Metric.POOL_DEPTH_USD, STABLE_POOL, "curve")
    yield depth, 0.1 * _STABLE_POOL_UNITS * paths["stable_pool_depth"]
    yield SeriesKey(Metric.VIRTUAL_PRICE, STABLE_POOL, "curve"), np.full(paths.hours.size, 1.02)


def _lending(paths: Paths) -> Iterator[tuple[SeriesKey, FloatArray]]:
    rates = {
        Metric.SUPPLY_APR: paths["supply_apr"],
        Metric.BORROW_APR: paths["borrow_apr"],
        Metric.UTILISATION: paths["utilisation"],
        Metric.IDLE_UNITS: _SUPPLIED_UNITS * (1.0 - paths["utilisation"]),
    }
    for metric, values in rates.items():
        yield SeriesKey(metric, "aave-v3/USDC", "aave_v3"), values
    health = paths.scenario.systems.loan
    if math.isfinite(health):
        yield SeriesKey(Metric.HEALTH_FACTOR, LOAN, "aave_v3"), health * paths[PRICE] / paths[PRICE][0]


def _column(
    key: SeriesKey, earlier_s: FloatArray, before: FloatArray, paths: Paths, values: FloatArray
) -> Column:
    """Join history and path, faults applied. The memo lets the bars of an hour serve the next step too."""
    hours, kept = paths.hours, np.ones(paths.hours.size, dtype=bool)
    values = values.copy()
    for fault in paths.scenario.faults:
        if not _meets(fault, key):
            continue
        during = (hours >= fault.from_h) & (hours < fault.to_h)
        if fault.kind is FaultKind.FAILING:
            values[during] = np.nan
        elif fault.kind is FaultKind.FROZEN:
            values[during] = values[max(int(np.argmax(during)) - 1, 0)]
        else:  # silent, or nobody was there to read it
            kept &= ~during
    return Column(
        times_s=np.concatenate([earlier_s, paths.times_s[kept]]),
        values=np.concatenate([before, values[kept]]),
        memo={},
    )


def _meets(fault: Fault, key: SeriesKey) -> bool:
    kind = key.source.partition(":")[0]
    return not fault.sources or kind in fault.sources or key.metric.value in fault.sources


def _prints(scenario: Scenario) -> dict[SeriesKey, Column]:
    """Macro figures, each known from its release on, with the time of the next one."""
    found = {}
    for event in sorted({item.event for item in scenario.prints}):
        rows = sorted((item for item in scenario.prints if item.event == event), key=lambda item: item.at_s)
        times_s = np.array([float(item.at_s) for item in rows])
        for metric, values in (
            (Metric.MACRO_PRINT, [item.value for item in rows]),
            (Metric.MACRO_RELEASE_S, [float(item.next_s) for item in rows]),
        ):
            found[SeriesKey(metric, event, "calendar")] = Column(times_s=times_s, values=np.array(values))
    return found


def _holdings(scenario: Scenario, spec: ExposureSpec) -> BaseHoldings:
    """RESERVE and cover as the presets want them, so that what is proposed is what the scenario raises."""
    part = _RESERVE_PART * spec.value_usd
    others = [stable for stable in STABLES if stable != spec.stable]
    loans: tuple[Loan, ...] = ()
    if math.isfinite(scenario.systems.loan):
        loans = (
            Loan(
                position=LOAN,
                debt_asset=spec.stable,
                debt_units=scenario.systems.loan_share * spec.value_usd,
                top_up_asset="ETH",
                top_up_threshold=0.825,
            ),
        )
    return BaseHoldings(
        reserves=tuple(ReserveHolding(asset=asset, units=part) for asset in (spec.stable, others[0])),
        covers=(
            Cover(
                id="stated",
                protocol=spec.protocol,
                amount_usd=_COVER_PART * spec.value_usd,
                expires_s=scenario.start_s + _COVER_DAYS * DAY_S,
            ),
        ),
        loans=loans,
    )
