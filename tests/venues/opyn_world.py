"""An Opyn venue on the devnet: reference contracts, oTokens on a real Uniswap v3, the user who trades."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.chain.rpc import Rpc
from bot.devnet.boards import DAY_S
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_opyn import (
    DISPUTE_S,
    LOCKING_S,
    Opyn,
    OpynOtoken,
    OpynSeries,
    deploy_opyn,
    list_series,
    push_expiry_price,
)
from bot.devnet.deploy_uniswap import UniswapV3
from bot.devnet.deployment import Deployment
from bot.devnet.node import Devnet
from bot.model.hedge import HedgeLeg, LegOutcome, Quote, Side
from bot.venues.opyn import OpynAdapter, opyn_venue
from bot.venues.opyn_terms import OpynContracts

from .conftest import buy_leg
from .option_world import SPOT_USD, OptionWorld, Site, filled

ONE = 10**8


@dataclass
class OpynWorld(OptionWorld):
    """One Gamma system on the devnet with a put and a call, traded by the user."""

    opyn: Opyn
    put: OpynOtoken
    call: OpynOtoken

    @property
    def adapter(self) -> OpynAdapter:
        assert isinstance(self.venue.adapter, OpynAdapter)
        return self.venue.adapter

    async def quote(self, token: OpynOtoken | None = None, *, size: float = 2.0) -> Quote:
        return await self.listed(otoken_id(token or self.put), size=size)

    async def bought(
        self, token: OpynOtoken | None = None, *, size: float = 2.0, key: str = "plan/0"
    ) -> LegOutcome:
        leg = buy_leg(await self.quote(token, size=size), key=key)
        return filled(await self.venue.execute(leg, view=await self.view()))

    async def close(
        self, opened: LegOutcome, side: Side, *, key: str = "plan/close", **changes: Any
    ) -> LegOutcome:
        return await self.venue.execute(closing(opened, side, key=key, **changes), view=await self.view())

    async def expire(self, price_usd: float) -> int:
        """Let the feed answer just after expiry; return that round."""
        await self.bench.set_time(self.put.series.expiry_s + 20)
        return await self.publish(price_usd)

    async def finalise(self, price_usd: float) -> None:
        number = await self.expire(price_usd)
        await self.bench.set_time(self.put.series.expiry_s + LOCKING_S + 1)
        await push_expiry_price(self.opyn, expiry_s=self.put.series.expiry_s, round_id=number)
        await self.bench.set_time(await self.bench.now_s() + DISPUTE_S + 1)

    async def money(self) -> int:
        return int(await self.opyn.usdc.call("balanceOf", self.at.user))

    async def otokens(self, token: OpynOtoken | None = None) -> int:
        return int(await (token or self.put).otoken.call("balanceOf", self.at.user))

    async def allowances(self) -> tuple[int, ...]:
        tokens = (self.opyn.usdc, self.put.otoken, self.call.otoken)
        spenders = (self.at.v3_router, self.opyn.margin_pool.address, self.opyn.controller.address)
        pairs = [(token, spender) for token in tokens for spender in spenders]
        return tuple([int(await token.call("allowance", self.at.user, to)) for token, to in pairs])


def otoken_id(token: OpynOtoken) -> str:
    return f"otoken:{token.address.lower()}"


def closing(opened: LegOutcome, side: Side, *, key: str = "plan/close", **changes: Any) -> HedgeLeg:
    fields: dict[str, Any] = {
        "key": key,
        "side": side,
        "size": opened.filled_size,
        "limit_usd": 0.0,
        "position_id": opened.position_id,
    }
    return replace(opened.leg, **{**fields, **changes})


def contracts_of(opyn: Opyn, at: Deployment, **changes: Any) -> OpynContracts:
    fields: dict[str, Any] = {
        "controller": opyn.controller.address,
        "factory": opyn.factory.address,
        "v3_factory": at.v3_factory,
        "router": at.v3_router,
        "quoter": at.v3_quoter,
        "token": at.usdc,
        "underlying_token": at.weth,
        "pricer": opyn.pricer.address,
    }
    return OpynContracts(**{**fields, **changes})


async def make_opyn(bench: Bench, at: Deployment, usdc: Contract) -> Opyn:
    v3 = UniswapV3(
        factory=bench.at("UniswapV3Factory", at.v3_factory),
        positions=bench.at("NonfungiblePositionManager", at.v3_position_manager),
        router=bench.at("SwapRouter", at.v3_router),
        quoter=bench.at("QuoterV2", at.v3_quoter),
        tick_lens=bench.at("TickLens", at.v3_tick_lens),
    )
    weth = bench.at("WETH9", at.weth)
    return await deploy_opyn(bench, v3, usdc=usdc, weth=weth, feed=at.feed_eth_usd, writer=at.whale)


async def make_world(devnet: Devnet, rpc: Rpc, cache_dir: Path, usdc: Contract | None = None) -> OpynWorld:
    site = await Site.open(devnet, rpc, cache_dir)
    at, bench = site.at, site.bench
    opyn = await make_opyn(bench, at, usdc or bench.at("TestERC20SetDecimals", at.usdc))
    expiry_s = at.deployed_at_s + 30 * DAY_S + 8 * 3600
    listed = []
    for strike_usd, is_put in ((2700.0, True), (3300.0, False)):
        series = OpynSeries(strike_usd=strike_usd, expiry_s=expiry_s, is_put=is_put, contracts=100)
        listed.append(await list_series(opyn, series, spot_usd=SPOT_USD, now_s=await bench.now_s()))
    contracts = contracts_of(opyn, at, token=opyn.usdc.address)
    venue = opyn_venue(reader=site.reader, contracts=contracts, custody=site.transactor)
    return OpynWorld(site, venue, opyn, *listed)
