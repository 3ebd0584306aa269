"""Stress scenarios as a devnet plays them: one hourly point after the other, in what a chain can carry.

The description is the one of bot/simulation/stress. A devnet stands ready at one time and price, so a path is
shifted to that time and scaled to that price: returns, vols and flows are the scenario's own. What no
transaction on a devnet can do is named by ``left_out``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from bot.errors import ConfigError
from bot.model.units import HOUR_S, parse_utc_s
from bot.simulation.stress.catalogue import names, scenario_named
from bot.simulation.stress.description import FaultKind, Scenario
from bot.simulation.stress.paths import PRICE, Paths, build_paths

START_S = parse_utc_s("2022-05-05T00:00:00Z", field="scenario start")
FIRST_POINT_S = START_S + HOUR_S  # one hour after a fresh devnet stands ready
START_USD = 2_940.0  # of ETH, at which every pool of a devnet is deployed
FUNDINGS_A_DAY = 3  # the figures are per 8 h; Perp v2's premium is a rate per day
WEI_PER_MAINNET_GWEI = 10**7  # devnet gas costs a hundredth of mainnet's, near what a rollup charges
_CARRIED = {  # what of a path becomes transactions
    PRICE,
    "dvol",
    "funding_8h",
    "lp_share",
    "pool_gap",
    "susd_usd",
    "gas_gwei",
    "vault_share",
    "paused",
}
_WORDS = {  # of the paths that a devnet has no contract for, or none that the demo's bot watches
    "btc_usd": "BTC",
    "usdc_usd": "USDC off its peg: the devnet's USDC is worth a dollar by definition",
    "usdt_usd": "USDT: no such token on a devnet",
    "dai_usd": "DAI: no such token on a devnet",
    "usdc_second_gap": "a second price of USDC",
    "stable_pool_usdc": "shares of a pool of three stables",
    "stable_pool_usdt": "shares of a pool of three stables",
    "stable_pool_depth": "depth of a pool of three stables",
    "stable_pool_flow": "flows of a pool of three stables",
    "utilisation": "utilisation of the lending market",
    "borrow_apr": "rates of the lending market",
    "supply_apr": "rates of the lending market",
    "priority_gwei": "tips: no other trader bids for a devnet's blocks",
    "bridge_locked": "the bridge: a devnet is one chain",
    "bridge_minted": "the bridge: a devnet is one chain",
    "upgraded": "the upgrade: Uniswap's contracts cannot be upgraded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPoint:
    """The state of every market at one time."""

    at_s: int  # block time of the last block of the step
    eth_usd: float  # what the oracles say
    pool_gap: float  # pool price / oracle price - 1: how far the pools lag
    funding_premium: float  # perpetual's mark / index - 1 = funding a day, fraction; positive: a long pays
    iv_7d: float  # at-the-money implied vol at constant maturity, fraction a year
    iv_30d: float
    iv_90d: float
    lp_share: float  # liquidity in each ETH pool against the path's first point, flows only, fraction
    stable_usd: float  # USDC for one sUSD in the stable pool
    base_fee_wei: int
    vault_share: float = 1.0  # of the vault's money at the first point, at most all of it
    paused: bool = False  # the lending market, which stands for the protocol of the position


def market_path(scenario: Scenario, seed: int) -> tuple[MarketPoint, ...]:
    """Return a scenario's hourly points from ``FIRST_POINT_S``. ``seed`` is any integer >= 0."""
    paths = build_paths(scenario, seed)
    scale = START_USD / float(paths[PRICE][0])
    fronts, middles, backs = (path[:: scenario.steps_an_hour] for path in paths.vols())
    at = _hourly(paths)
    return tuple(
        MarketPoint(
            at_s=FIRST_POINT_S + hour * HOUR_S,
            eth_usd=round(at(PRICE, hour) * scale, 2),
            pool_gap=at("pool_gap", hour),
            funding_premium=round(at("funding_8h", hour) / 100.0 * FUNDINGS_A_DAY, 7),
            iv_7d=float(fronts[hour]),
            iv_30d=float(middles[hour]),
            iv_90d=float(backs[hour]),
            lp_share=round(at("lp_share", hour) / at("lp_share", 0), 5),
            stable_usd=at("susd_usd", hour),
            base_fee_wei=round(at("gas_gwei", hour)) * WEI_PER_MAINNET_GWEI,
            vault_share=min(at("vault_share", hour), 1.0) if is_protocol_test(scenario) else 1.0,
            paused=is_protocol_test(scenario) and at("paused", hour) > 0.0,
        )
        for hour in range(scenario.hours + 1)
    )


def is_protocol_test(scenario: Scenario) -> bool:
    """Say whether something happens to the protocol itself: then the vault and a guard are watched too.

    Uniswap cannot be paused: the devnet's vault stands for the other pools of the position's protocol, and
    its lending market, which has a guard, for the protocol.
    """
    return not {"vault_share", "paused"}.isdisjoint(item.name for item in scenario.paths)


def _hourly(paths: Paths) -> Callable[[str, int], float]:
    parts = paths.scenario.steps_an_hour
    return lambda name, hour: float(paths[name][hour * parts])


def left_out(scenario: Scenario) -> tuple[str, ...]:
    """Return what of a scenario no transaction on a devnet can do, each once, in words."""
    found = [_WORDS[item.name] for item in scenario.paths if item.name not in _CARRIED]
    if is_protocol_test(scenario):
        found.append(
            "the position's own protocol: Uniswap cannot be paused, the lending market stands for it, and "
            "the vault for its other pools"
        )
    if scenario.steps_an_hour > 1:
        found.append(f"what happens within the hour: steps of {scenario.step_s // 60} minutes")
    found += [f"{_FAULTS[item.kind]}: {item.because}" for item in scenario.faults]
    found += [f"venues {item.kind.value}: {item.because}" for item in scenario.troubles]
    if scenario.prints:
        found.append("releases of consumer prices")
    if math.isfinite(scenario.systems.loan):
        found.append("the loan: prices of the devnet's lending market stay as they are")
    return tuple(dict.fromkeys(found))


_FAULTS = {
    FaultKind.UNSEEN: "hours without a frame",
    FaultKind.FAILING: "reads that fail",
    FaultKind.SILENT: "sources that fall silent",
    FaultKind.FROZEN: "sources that stand still",
}


def playable(name: str) -> Scenario:
    """Return a scenario that a devnet can play: one whose measured path becomes transactions.

    Raises NotFoundError for an unknown name, ConfigError for one that no chain can carry.
    """
    scenario = scenario_named(name)
    if scenario.measured not in _CARRIED:
        raise ConfigError(
            f"scenario {scenario.name} cannot be replayed on a devnet: {_WORDS[scenario.measured]}; "
            f"leave out --devnet, or choose one of {', '.join(playable_names())}"
        )
    return scenario


def playable_names() -> tuple[str, ...]:
    return tuple(name for name in names() if scenario_named(name).measured in _CARRIED)
