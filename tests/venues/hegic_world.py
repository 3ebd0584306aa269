"""A Hegic venue on the devnet: the reference contracts, and the user of the devnet who trades them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_hegic import Hegic, deploy_hegic
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.model.hedge import (
    HedgeLeg,
    LegOutcome,
    LegStatus,
    Quote,
    Side,
)
from bot.model.market import Columns
from bot.ports import MarketView
from bot.venues.hegic import HegicAdapter, hegic_venue
from bot.venues.hegic_terms import HegicContracts
from bot.venues.planned import PlannedVenue

from .conftest import UnlockedTransactor, buy_leg

SPOT_USD = 2940.0
ATM = "PUT_100_ETH_2:30d"


@dataclass
class HegicWorld:
    """One Herge system on the devnet, traded by the user."""

    bench: Bench
    at: Deployment
    hegic: Hegic
    token: Contract
    feed: Contract
    transactor: UnlockedTransactor
    venue: PlannedVenue
    reader: JsonRpcReader

    @property
    def adapter(self) -> HegicAdapter:
        assert isinstance(self.venue.adapter, HegicAdapter)
        return self.venue.adapter

    async def view(self, *, usdc: float = 1.0) -> MarketView:
        block = await self.reader.head()
        spot = (await self.feed.call("latestRoundData"))[1] / 1e8
        return MarketView(
            now_s=block.timestamp_s,
            block=block,
            columns=Columns(series={}),
            spot_usd={"ETH": spot},
            stable_usd={"USDC": usdc},
        )

    async def quote(self, name: str = ATM, *, size: float = 2.0) -> Quote:
        quotes = await self.venue.quotes(await self.view(), underlying="ETH", size=size)
        return next(item for item in quotes if item.instrument.id == name)

    async def buy(
        self, name: str = ATM, *, size: float = 2.0, key: str = "plan/0", **changes: Any
    ) -> LegOutcome:
        leg = buy_leg(await self.quote(name, size=size), key=key, **changes)
        return await self.venue.execute(leg, view=await self.view())

    async def bought(self, name: str = ATM, **options: Any) -> LegOutcome:
        outcome = await self.buy(name, **options)
        assert outcome.status is LegStatus.FILLED, outcome.because
        return outcome

    async def closing(
        self, outcome: LegOutcome, side: Side, *, key: str = "plan/close", **changes: Any
    ) -> HedgeLeg:
        """A leg for a position as the engine has it: with the instrument that the venue shows."""
        shown = {item.id: item for item in await self.venue.held(await self.view())}
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

    async def publish(self, price_usd: float) -> None:
        await self.feed.send("setAnswer", round(price_usd * 10**8), await self.bench.now_s())

    async def balance(self) -> int:
        return int(await self.token.call("balanceOf", self.at.user))

    async def allowance(self) -> int:
        return int(await self.token.call("allowance", self.at.user, self.hegic.treasury.address))

    async def untouched(self, outcome: LegOutcome, had: int, because: str) -> None:
        """Nothing was sent, and the reason is named."""
        assert outcome.status is LegStatus.REJECTED
        assert because in outcome.because
        assert self.transactor.requests == []
        assert (await self.balance(), await self.allowance()) == (had, 0)


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
    at = devnet.deployment
    bench = Bench(rpc, fetch(cache_dir), at.accounts)
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    token = token or bench.at("TestERC20SetDecimals", at.usdc)
    hegic = await deploy_hegic(
        bench, usdc=token, feed=at.feed_eth_usd, payoff_pool=at.whale, spot_usd=SPOT_USD
    )
    transactor = UnlockedTransactor(rpc, at.user)
    venue = hegic_venue(reader=reader, contracts=contracts_of(hegic, token.address), custody=transactor)
    feed = bench.own_at("ChainlinkFeed", at.feed_eth_usd)
    return HegicWorld(bench, at, hegic, token, feed, transactor, venue, reader)
