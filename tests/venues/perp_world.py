"""A Perp v2 venue on the devnet: the real contracts, and an account of the node that signs for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import Deployment
from bot.devnet.moves import perp
from bot.devnet.moves.wire import Tx, calldata
from bot.errors import VenueRejected
from bot.model.hedge import LegStatus
from bot.model.intent import Receipt, TxRequest
from bot.model.market import Columns
from bot.model.perpetual import PerpetualAction, PerpetualOrder, PerpetualPosition, PerpetualQuote
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.ports import MarketView
from bot.venues.perp_v2 import perp_v2_venue
from bot.venues.perp_v2_reads import PerpV2Contracts
from bot.venues.perp_v2_terms import PerpV2Terms
from bot.venues.planned_perpetual import PlannedPerpetualVenue

from .conftest import UnlockedTransactor

TERMS = PerpV2Terms()
SOON = 4_000_000_000.0  # a deadline that a uint256 of seconds takes, far beyond any block of these tests


@dataclass
class PerpWorld:
    """The devnet as the tests of perpetuals use it."""

    rpc: Rpc
    reader: JsonRpcReader
    at: Deployment
    transactor: UnlockedTransactor
    venue: PlannedPerpetualVenue
    contracts: PerpV2Contracts

    async def view(self, *, usdc: float = 1.0) -> MarketView:
        block = await self.reader.head()
        return MarketView(
            now_s=block.timestamp_s,
            block=block,
            columns=Columns(series={}),
            spot_usd={"ETH": await self.mark()},
            stable_usd={"USDC": usdc},
        )

    async def mark(self) -> float:
        raw = await self.read("AccountBalance", "getMarkPrice", self.at.perp_account_balance, self.base)
        return float(raw / 1e18)

    @property
    def base(self) -> str:
        return self.at.perp_base_token

    async def read(self, contract: str, function: str, target: str, *args: Any) -> Any:
        call = Abi.load(contract).call(function, target, *args)
        row = (await self.reader.read([call], block=await self.reader.head()))[0]
        assert row is not None, (contract, function)
        return row[0] if len(row) == 1 else row

    async def usdc(self) -> float:
        raw = await self.read("ERC20", "balanceOf", self.at.usdc, self.transactor.address)
        return float(raw / 1e6)

    async def in_vault(self) -> float:
        raw = await self.read("Vault", "getBalance", self.at.perp_vault, self.transactor.address)
        return float(raw / 1e6)

    async def allowance(self) -> int:
        own = self.transactor.address
        return int(await self.read("ERC20", "allowance", self.at.usdc, own, self.at.perp_vault))

    async def quote(self, size: float = 10.0) -> PerpetualQuote:
        (quote,) = await self.venue.perpetual_quotes(await self.view(), underlying="ETH", size=size)
        return quote

    async def position(self) -> PerpetualPosition:
        (found,) = await self.venue.held_perpetuals(await self.view())
        return found

    async def send(self, sender: str, to: str, data: bytes) -> Receipt:
        call = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(8_000_000)}
        receipt = await self.transactor._mine(call)
        assert receipt.succeeded
        return receipt

    async def send_tx(self, tx: Tx) -> None:
        await self.send(tx.sender, tx.to, bytes.fromhex(tx.data[2:]))

    async def owner_calls(self, to: str, signature: str, *args: Any) -> None:
        await self.send(self.at.deployer, to, bytes.fromhex(calldata(signature, *args)[2:]))

    async def wait(self, seconds: int) -> None:
        head = await self.reader.head()
        await self.rpc.request("evm_setNextBlockTimestamp", [head.timestamp_s + seconds])
        await self.rpc.request("evm_mine", [])

    async def move_index(self, price: float) -> None:
        """Publish an index price; it counts in full once 15 minutes have gone by."""
        head = await self.reader.head()
        for tx in perp.index_update(self.at, price=price, updated_at_s=head.timestamp_s):
            await self.send_tx(tx)

    async def move_market(self, price: float) -> None:
        """Trade the pool to a price, in the steps that the market allows."""
        slot0 = await self.read("UniswapV3Pool", "slot0", self.at.perp_pool)
        for tx in perp.mark_trades(self.at, sqrt_now=slot0[0], price=price):
            await self.wait(20)
            await self.send_tx(tx)

    async def fund_trader(self) -> None:
        """Give the account that moves the market its collateral."""
        at, amount = self.at, 20_000_000 * 10**6
        await self.owner_calls(at.usdc, "mint(address,uint256)", at.trader, amount)
        await self.send(at.trader, at.usdc, Abi.load("ERC20").encode("approve", at.perp_vault, amount))
        await self.send(at.trader, at.perp_vault, Abi.load("Vault").encode("deposit", at.usdc, amount))


@dataclass
class BatchAccount:
    """ports.Proposer whose owners sign at once: all transactions of a batch have effect, or none."""

    real: UnlockedTransactor
    receipts: dict[str, dict[str, Receipt]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.real.address

    async def propose(self, requests: Sequence[TxRequest]) -> Mapping[str, Receipt]:
        before = await self.real.rpc.request("evm_snapshot", [])
        try:
            done = [await self.real.send(request) for request in requests]
        except VenueRejected:
            await self.real.rpc.request("evm_revert", [before])
            raise
        logs = tuple(log for receipt in done for log in receipt.logs)
        batch = replace(done[-1], logs=logs, gas_cost_wei=sum(item.gas_cost_wei for item in done))
        found = {request.purpose: batch for request in requests}
        self.receipts.setdefault(requests[0].leg_key, {}).update(found)
        return found

    async def withdraw(self, leg_key: str, *, because: str) -> None:
        raise AssertionError(f"nothing is open: {leg_key}, {because}")

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        return self.receipts.get(leg_key, {})


def make_perp_world(rpc: Rpc, reader: JsonRpcReader, at: Deployment) -> PerpWorld:
    transactor = UnlockedTransactor(rpc, at.user)
    contracts = perp_contracts(at)
    venue = perp_v2_venue(reader=reader, contracts=contracts, custody=transactor)
    return PerpWorld(rpc, reader, at, transactor, venue, contracts)


def perp_contracts(at: Deployment) -> PerpV2Contracts:
    return PerpV2Contracts(
        clearing_house=at.perp_clearing_house,
        vault=at.perp_vault,
        account_balance=at.perp_account_balance,
        exchange=at.perp_exchange,
        config=at.perp_clearing_house_config,
        base_token=at.perp_base_token,
        collateral=at.usdc,
    )


def short(size: float, *, margin_usd: float, limit_usd: float, key: str = "plan/0", **changes: Any):
    return order(-size, PerpetualAction.OPEN, margin_usd=margin_usd, limit_usd=limit_usd, key=key, **changes)


def reduce(size: float, *, limit_usd: float = 1e6, key: str = "plan/1", **changes: Any) -> PerpetualOrder:
    """Buy back ``size`` units of a short."""
    return order(size, PerpetualAction.REDUCE, limit_usd=limit_usd, key=key, position_id="vETH", **changes)


def order(size: float, action: PerpetualAction, *, limit_usd: float, key: str, **changes: Any):
    fields: dict[str, Any] = {
        "key": key,
        "group": "ETH/USDC",
        "action": action,
        "perpetual": TERMS.perpetual,
        "size": size,
        "margin_usd": 0.0,
        "limit_usd": limit_usd,
        "expected_usd": 0.0,
        "valid_until_s": SOON,
    }
    return PerpetualOrder(**{**fields, **changes})


async def shorted(
    world: PerpWorld, size: float = 10.0, *, margin_usd: float = 15_000.0, key: str = "plan/0"
) -> PerpetualOutcome:
    outcome = await world.venue.execute(
        short(size, margin_usd=margin_usd, limit_usd=2_800.0, key=key), view=await world.view()
    )
    assert outcome.status is LegStatus.FILLED, outcome.because
    return outcome
