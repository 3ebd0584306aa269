"""A buyer of options on the Panoptic reference pool: what tests of contracts and adapter do there."""

from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import decode

from bot.chain.rpc import RevertError, hex_bytes
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_panoptic import HIGHEST_TICK, LOWEST_TICK, MOST_SPREAD, PanopticDeployment, deposit
from bot.devnet.deploy_tokens import UNLIMITED
from bot.devnet.moves.pools import V3Market
from bot.devnet.node import Devnet
from bot.venues.panoptic_token_id import TokenId, price_of_tick

ETH = 10**18
ASCENDING = (LOWEST_TICK, HIGHEST_TICK)
DESCENDING = (HIGHEST_TICK, LOWEST_TICK)


@dataclass
class Desk:
    """The buyer's side: everything is sent as the devnet's user, whose collateral is USDC alone."""

    at: PanopticDeployment
    bench: Bench
    devnet: Devnet
    me: str

    async def dispatch(
        self,
        ids: list[TokenId],
        final: list[TokenId],
        sizes: list[int],
        limits: tuple[int, int] = ASCENDING,
        spread: int = MOST_SPREAD,
    ) -> None:
        await self.at.pool.send(*self.call(ids, final, sizes, limits, spread), sender=self.me)

    def call(
        self,
        ids: list[TokenId],
        final: list[TokenId],
        sizes: list[int],
        limits: tuple[int, int] = ASCENDING,
        spread: int = MOST_SPREAD,
    ) -> tuple[Any, ...]:
        rows = [(*limits, spread)] * len(ids)
        return ("dispatch", [i.value for i in ids], [i.value for i in final], sizes, rows, False, 0)

    async def assets(self, who: str | None = None) -> tuple[int, int]:
        """(WETH, USDC) of collateral."""
        found = await self.at.pool.call("getAssetsOf", who or self.me)
        return found if self.at.unit == 0 else (found[1], found[0])

    async def simulate_burn(self, token_id: TokenId, limits: tuple[int, int]) -> tuple[int, int]:
        """(WETH, USDC) that a close would bring: multicall([dispatch, getAssetsOf]) less getAssetsOf."""
        abi = self.at.pool.artifact.abi
        burn = abi.encode(*self.call([token_id], [], [0], limits, 0))
        data = abi.encode("multicall", [burn, abi.encode("getAssetsOf", self.me)])
        call = {"from": self.me, "to": self.at.pool.address, "data": "0x" + data.hex()}
        answer = hex_bytes(await self.bench.rpc.read("eth_call", [call, "latest"]))
        after = decode(["uint256", "uint256"], decode(["bytes[]"], answer)[0][1])
        weth, usdc = after if self.at.unit == 0 else (after[1], after[0])
        before = await self.assets()
        return weth - before[0], usdc - before[1]

    async def swap_to(self, price: float) -> None:
        """The trader moves the real pool to a price."""
        at = self.devnet.deployment
        market = V3Market(
            name="ETH/USDC", pool=at.v3_pool, fee=500, unit=at.weth, unit_decimals=18,
            pricing=at.usdc, pricing_decimals=6,
        )  # fmt: skip
        for name, token in (("WETH9", at.weth), ("TestERC20SetDecimals", at.usdc)):
            await self.bench.at(name, token).send("approve", at.v3_router, UNLIMITED, sender=at.trader)
        now = (await self.bench.at("UniswapV3Pool", at.v3_pool).call("slot0"))[0]
        for tx in market.swap(at, sqrt_now=now, price=price):
            await self.bench.transact(tx.purpose, to=tx.to, data=tx.data, sender=tx.sender)

    async def calm(self) -> None:
        """Let the averages of the pool's oracle come to the price."""
        for _ in range(12):
            now = await self.bench.now_s()
            await self.bench.set_time(now + 900)
            await self.at.pool.send("pokeOracle")

    async def reason(self, *call: Any, of: Contract | None = None) -> str:
        """Why the pool (or another contract) refuses a call of ours."""
        target = of or self.at.pool
        data = "0x" + target.artifact.abi.encode(*call).hex()
        with pytest.raises(RevertError) as caught:
            await self.bench.rpc.read(
                "eth_call", [{"from": self.me, "to": target.address, "data": data}, "latest"]
            )
        return caught.value.reason

    @property
    def unit_tracker(self) -> Contract:
        return self.at.trackers[self.at.unit]

    @property
    def usdc_tracker(self) -> Contract:
        return self.at.trackers[1 - self.at.unit]

    async def deposit_weth(self, amount: int) -> None:
        await self.at.tokens[self.at.unit].send("deposit", sender=self.me, value_wei=amount)
        await deposit(self.at, owner=self.me, unit_raw=amount)

    async def price(self) -> float:
        """USDC of one WETH in the real pool."""
        tick = await self.at.pool.call("getCurrentTick")
        found = price_of_tick(tick, decimals0=self.at.decimals[0], decimals1=self.at.decimals[1])
        return found if self.at.unit == 0 else 1 / found
