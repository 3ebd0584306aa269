"""A Lyra venue on the devnet, with a transactor that sends from an unlocked account of the node."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import RevertError, Rpc, hex_bytes, quantity
from bot.devnet.deployment import CHAIN_ID, Deployment
from bot.devnet.moves.wire import calldata
from bot.devnet.node import Devnet
from bot.errors import VenueRejected
from bot.model.hedge import HedgeLeg, Layer, OptionType, Quote, Side
from bot.model.intent import Log, Receipt, TxRequest
from bot.model.market import Columns
from bot.ports import Call, MarketView
from bot.venues.lyra import lyra_venue
from bot.venues.lyra_reads import LyraContracts
from bot.venues.planned import PlannedVenue
from bot.venues.settlement import SettlementSwap, StablePair

NEVER_S = 1e12


@dataclass
class UnlockedTransactor:
    """ports.Transactor without keys: simulate, send, wait for the receipt. Remembers what it did."""

    rpc: Rpc
    address: str
    requests: list[TxRequest] = field(default_factory=list)
    receipts: dict[str, dict[str, Receipt]] = field(default_factory=dict)
    before_send: Any = None  # async callable(request), to change the world in between

    async def send(self, request: TxRequest) -> Receipt:
        if self.before_send is not None:
            await self.before_send(request)
        call = {"from": self.address, "to": request.to, "data": "0x" + request.data.hex()}
        try:
            await self.rpc.read("eth_call", [call, "latest"])
        except RevertError as error:
            raise VenueRejected(f"{request.purpose} would revert: {error.reason}") from None
        call["gas"] = hex(request.gas_ceiling)
        receipt = await self._mine(call)
        self.requests.append(request)
        self.receipts.setdefault(request.leg_key, {})[request.purpose] = receipt
        if not receipt.succeeded:
            raise VenueRejected(f"{request.purpose} was mined without effect")
        return receipt

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        return self.receipts.get(leg_key, {})

    async def _mine(self, call: dict[str, str]) -> Receipt:
        tx_hash = await self.rpc.request("eth_sendTransaction", [call], send=True)
        raw = None
        while raw is None:
            raw = await self.rpc.read("eth_getTransactionReceipt", [tx_hash])
        gas_used = quantity(raw["gasUsed"])
        return Receipt(
            tx_hash=tx_hash,
            succeeded=quantity(raw["status"]) == 1,
            block_number=quantity(raw["blockNumber"]),
            block_hash=raw["blockHash"],
            gas_used=gas_used,
            gas_cost_wei=gas_used * quantity(raw["effectiveGasPrice"]),
            logs=tuple(
                Log(address=log["address"], topics=tuple(log["topics"]), data=hex_bytes(log["data"]))
                for log in raw["logs"]
            ),
        )


@dataclass
class World:
    """The devnet as these tests use it."""

    rpc: Rpc
    reader: JsonRpcReader
    at: Deployment
    transactor: UnlockedTransactor
    venue: PlannedVenue
    swap: SettlementSwap
    contracts: LyraContracts

    async def view(self, *, susd: float = 1.0) -> MarketView:
        block = await self.reader.head()
        spot = await self.read(
            "SynthetixAdapter",
            "getSpotPriceForMarket",
            self.at.lyra_synthetix_adapter,
            self.at.lyra_option_market,
        )
        return MarketView(
            now_s=block.timestamp_s,
            block=block,
            columns=Columns(series={}),
            spot_usd={"ETH": spot / 1e18},
            stable_usd={"USDC": 1.0, "sUSD": susd},
        )

    async def read(self, contract: str, function: str, target: str, *args: Any) -> Any:
        call: Call = Abi.load(contract).call(function, target, *args)
        row = (await self.reader.read([call], block=await self.reader.head()))[0]
        assert row is not None, (contract, function)
        return row[0] if len(row) == 1 else row

    async def balance(self, token: str, account: str | None = None) -> int:
        return await self.read("ERC20", "balanceOf", token, account or self.transactor.address)

    async def allowances(self) -> tuple[int, ...]:
        """Return all that anybody may still take from the account."""
        at, own = self.at, self.transactor.address
        grants = (
            (at.usdc, at.v3_router),
            (at.susd, at.v3_router),
            (at.susd, at.lyra_option_market),
            (at.usdc, at.lyra_option_market),
        )
        return tuple([await self.read("ERC20", "allowance", token, own, to) for token, to in grants])

    async def send(self, sender: str, to: str, data: bytes) -> Receipt:
        """Send as another account of the node."""
        call = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(15_000_000)}
        receipt = await self.transactor._mine(call)
        assert receipt.succeeded
        return receipt

    async def set_spot(self, price_usd: float) -> None:
        """Move the price that Lyra reads, and nothing else."""
        key = b"sETH".ljust(32, b"\0")
        data = calldata("setRateAndInvalid(bytes32,uint256,bool)", key, int(price_usd * 10**18), False)
        await self.send(self.at.deployer, self.at.lyra_exchange_rates, bytes.fromhex(data[2:]))

    async def warp(self, time_s: int) -> None:
        await self.rpc.request("evm_setNextBlockTimestamp", [time_s])
        await self.rpc.request("evm_mine", [])

    async def quotes(self, view: MarketView, *, size: float = 1.0) -> tuple[Quote, ...]:
        return await self.venue.quotes(view, underlying="ETH", size=size)

    async def put_near_delta(self, delta: float, *, size: float = 1.0, after_days: float = 20.0) -> Quote:
        """Return the put quote whose delta is nearest, of boards at least so far away."""
        view = await self.view()
        puts = [
            quote
            for quote in await self.quotes(view, size=size)
            if quote.instrument.option_type is OptionType.PUT
            and quote.instrument.dte(view.now_s) >= after_days
        ]
        return min(puts, key=lambda quote: abs(quote.delta + delta))


def buy_leg(quote: Quote, *, key: str = "plan/0", limit: float = 1.02, **changes: Any) -> HedgeLeg:
    fields: dict[str, Any] = {
        "key": key,
        "group": "ETH/USDC",
        "layer": Layer.MID,
        "side": Side.BUY,
        "instrument": quote.instrument,
        "size": quote.size,
        "limit_usd": quote.premium_usd * limit,
        "expected_usd": quote.premium_usd,
        "valid_until_s": NEVER_S,
    }
    return HedgeLeg(**{**fields, **changes})


@pytest.fixture
async def world(devnet: Devnet, rpc: Rpc) -> World:
    """The user of the devnet, with USDC and no sUSD."""
    at = devnet.deployment
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    return make_world(rpc, reader, at)


def make_world(rpc: Rpc, reader: JsonRpcReader, at: Deployment) -> World:
    transactor = UnlockedTransactor(rpc, at.user)
    contracts = LyraContracts(
        option_market=at.lyra_option_market,
        option_token=at.lyra_option_token,
        pricer=at.lyra_pricer,
        liquidity_pool=at.lyra_liquidity_pool,
        short_collateral=at.lyra_short_collateral,
        synthetix_adapter=at.lyra_synthetix_adapter,
    )
    pair = StablePair(
        stable="USDC",
        stable_token=at.usdc,
        settlement="sUSD",
        settlement_token=at.susd,
        router=at.v3_router,
        quoter=at.v3_quoter,
        pool_fee=at.stable_pool_fee,
    )
    swap = SettlementSwap(reader=reader, pair=pair)
    venue = lyra_venue(reader=reader, contracts=contracts, swap=swap, custody=transactor)
    return World(rpc, reader, at, transactor, venue, swap, contracts)
