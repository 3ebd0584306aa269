"""Runs that several laws look at: each scenario and policy is run once."""

import asyncio
from dataclasses import replace
from functools import cache

import pytest

from bot.settings import named_policy
from bot.simulation.exposures import parse_exposure
from bot.simulation.market.model import load_market
from bot.simulation.stress.catalogue import scenario_named
from bot.simulation.stress.findings import Finding, finding_of
from bot.simulation.stress.run import run_scenario

SPEC = parse_exposure("v2:ETH/USDC:1000000")


# So much of each is run: until what the laws speak of is over.
HOURS = {
    "bridge-drain": 60,
    "lending-cascade": 140,
    "protocol-exploit": 80,
    "rally": 150,
    "rpc-outage": 64,
    "stablecoin-depeg": 60,
    "venue-halt": 96,
}


@cache
def found(name: str, policy: str) -> Finding:
    scenario = replace(scenario_named(name), hours=HOURS[name])
    run = run_scenario(scenario, 1, SPEC, named_policy(policy), load_market())
    return finding_of(asyncio.run(run))


@pytest.fixture(params=["steward", "classic"])
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def finding():
    """Return the finding of a scenario under a policy, seed 1."""
    return found
