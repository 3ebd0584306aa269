"""What the worlds of Opyn and Hegic have in common: the user of the devnet, a feed, a venue over both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from reference_contracts import deploy_reference

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch
from bot.model.hedge import LegOutcome, LegStatus, Quote
from bot.model.market import Columns
from bot.ports import MarketView
from bot.venues.planned import PlannedVenue

from .conftest import UnlockedTransactor

SPOT_USD = 2940.0


class Site(NamedTuple):
    """The devnet, and what every world on it needs."""

    at: Deployment
    bench: Bench
    reader: JsonRpcReader
    transactor: UnlockedTransactor
    feed: Contract  # of ETH/USD

    @classmethod
    async def open(cls, devnet: Devnet, rpc: Rpc, cache_dir: Path) -> "Site":
        at = devnet.deployment
        bench = Bench(rpc, fetch(cache_dir), at.accounts)
        reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
        feed = bench.own_at("ChainlinkFeed", at.feed_eth_usd)
        return cls(at, bench, reader, UnlockedTransactor(rpc, at.user), feed)

    async def odd_token(self) -> Contract:
        """Return a stable that can be told to be odd, with money of it for the user."""
        token = await deploy_reference(self.bench, "OddErc20")
        await token.send("mint", self.at.user, 100_000 * 10**6)
        return token


@dataclass
class OptionWorld:
    """One venue on the devnet, traded by the user."""

    site: Site
    venue: PlannedVenue

    @property
    def at(self) -> Deployment:
        return self.site.at

    @property
    def bench(self) -> Bench:
        return self.site.bench

    @property
    def reader(self) -> JsonRpcReader:
        return self.site.reader

    @property
    def transactor(self) -> UnlockedTransactor:
        return self.site.transactor

    @property
    def feed(self) -> Contract:
        return self.site.feed

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

    async def quotes(self, *, size: float = 2.0) -> tuple[Quote, ...]:
        return await self.venue.quotes(await self.view(), underlying="ETH", size=size)

    async def listed(self, name: str, *, size: float) -> Quote:
        return next(item for item in await self.quotes(size=size) if item.instrument.id == name)

    async def held(self) -> Any:
        return await self.venue.held(await self.view())

    def refusals(self) -> dict[str, str]:
        return {item.instrument.id: item.because for item in self.venue.adapter.refusals}

    async def publish(self, price_usd: float) -> int:
        """Publish an answer now; return its round."""
        await self.feed.send("setAnswer", round(price_usd * 10**8), await self.bench.now_s())
        return int((await self.feed.call("latestRoundData"))[0])

    async def money(self) -> int:
        """Return the user's stable, raw."""
        raise NotImplementedError

    async def allowances(self) -> tuple[int, ...]:
        """Return all that anybody may still take from the user."""
        raise NotImplementedError

    async def refused(self, outcome: LegOutcome, because: str, *, had: int, sent: int = 0) -> None:
        """Nothing more was sent, and the reason is named."""
        assert outcome.status is LegStatus.REJECTED
        assert because in outcome.because
        assert len(self.transactor.requests) == sent
        assert await self.money() == had
        assert not any(await self.allowances())


def filled(outcome: LegOutcome) -> LegOutcome:
    assert outcome.status is LegStatus.FILLED, outcome.because
    return outcome
