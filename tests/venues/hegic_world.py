"""A Hegic venue on the devnet: the reference contracts, and the user of the devnet who trades them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Contract
from bot.devnet.deploy_hegic import Hegic, deploy_hegic
from bot.devnet.node import Devnet
from bot.model.hedge import HedgeLeg, LegOutcome, Quote, Side
from bot.venues.hegic import HegicAdapter, hegic_venue
from bot.venues.hegic_terms import HegicContracts

from .conftest import buy_leg
from .option_world import SPOT_USD, OptionWorld, Site, filled

ATM = "PUT_100_ETH_2:30d"


@dataclass
class HegicWorld(OptionWorld):
    """One Herge system on the devnet, traded by the user."""

    hegic: Hegic
    token: Contract

    @property
    def adapter(self) -> HegicAdapter:
        assert isinstance(self.venue.adapter, HegicAdapter)
        return self.venue.adapter

    async def quote(self, name: str = ATM, *, size: float = 2.0) -> Quote:
        return await self.listed(name, size=size)

    async def buy(
        self, name: str = ATM, *, size: float = 2.0, key: str = "plan/0", **changes: Any
    ) -> LegOutcome:
        leg = buy_leg(await self.quote(name, size=size), key=key, **changes)
        return await self.venue.execute(leg, view=await self.view())

    async def bought(self, name: str = ATM, **options: Any) -> LegOutcome:
        return filled(await self.buy(name, **options))

    async def closing(
        self, outcome: LegOutcome, side: Side, *, key: str = "plan/close", **changes: Any
    ) -> HedgeLeg:
        """A leg for a position as the engine has it: with the instrument that the venue shows."""
        shown = {item.id: item for item in await self.held()}
        held = shown.get(outcome.position_id)
        fields: dict[str, Any] = {
            "key": key,
            "side": side,
            "instrument": held.instrument if held else outcome.leg.instrument,
            "size": outcome.filled_size,
            "limit_usd": 0.0,
            "position_id": outcome.position_id,
        }
        return replace(outcome.leg, **{**fields, **changes})

    async def settle(self, outcome: LegOutcome, side: Side = Side.SETTLE, **changes: Any) -> LegOutcome:
        leg = await self.closing(outcome, side, **changes)
        return await self.venue.execute(leg, view=await self.view())

    async def money(self) -> int:
        return int(await self.token.call("balanceOf", self.at.user))

    async def allowance(self) -> int:
        return int(await self.token.call("allowance", self.at.user, self.hegic.treasury.address))

    async def allowances(self) -> tuple[int, ...]:
        return (await self.allowance(),)


def contracts_of(hegic: Hegic, token: str, **changes: Any) -> HegicContracts:
    strategies = {name: item.address for name, item in hegic.strategies.items()}
    addresses: Mapping[str, str] = {
        "treasury": hegic.treasury.address,
        "manager": hegic.manager.address,
        "cover_pool": hegic.cover_pool.address,
        "token": token,
    }
    return HegicContracts.of(strategies, **{**addresses, **changes})


async def make_world(devnet: Devnet, rpc: Rpc, cache_dir: Path, token: Contract | None = None) -> HegicWorld:
    site = await Site.open(devnet, rpc, cache_dir)
    token = token or site.bench.at("TestERC20SetDecimals", site.at.usdc)
    hegic = await deploy_hegic(
        site.bench,
        usdc=token,
        feed=site.at.feed_eth_usd,
        payoff_pool=site.at.whale,
        spot_usd=SPOT_USD,
    )
    contracts = contracts_of(hegic, token.address)
    venue = hegic_venue(reader=site.reader, contracts=contracts, custody=site.transactor)
    return HegicWorld(site, venue, hegic, token)
