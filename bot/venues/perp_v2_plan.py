"""How an order is done on Perp v2: what is checked first, which calls, within which bounds.

Open: deposit the margin, then trade. Reduce: trade the other way, or close the whole net position, then take
out what the order releases. Add margin: deposit. What is taken out is known once the trade is mined, so it is
a plan of its own (``after``), and never holds an order up.
"""

from collections.abc import Mapping

from bot.errors import VenueRejected
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.perpetual import PerpetualAction, PerpetualOrder
from bot.model.units import WAD_DECIMALS, to_fixed_down, to_fixed_up
from bot.ports import ChainReader
from bot.venues.perp_v2_reads import VAULT, AccountState, MarketState, PerpV2Contracts, PerpV2Reads
from bot.venues.perp_v2_terms import PerpV2Terms
from bot.venues.perp_v2_trades import PerpV2Trades, Trade
from bot.venues.settlement import BPS

DEPOSIT, TRADE, WITHDRAW = "deposit", "trade", "withdraw"
_WAD: int = 10**WAD_DECIMALS
SIZE_SLACK = 1e-9  # of a position: float dust is no difference


class PerpV2Planner:
    """Plans for one market and one account."""

    def __init__(
        self,
        *,
        reader: ChainReader,
        reads: PerpV2Reads,
        trades: PerpV2Trades,
        terms: PerpV2Terms,
        account: str,
    ) -> None:
        self._reader, self._reads, self._trades = reader, reads, trades
        self._terms, self._account = terms, account

    @property
    def _at(self) -> PerpV2Contracts:
        return self._reads.contracts

    async def plan(self, order: PerpetualOrder, *, collateral_usd: float, head: Block) -> ExecutionPlan:
        """See ports.PerpetualAdapter."""
        if order.perpetual != self._terms.perpetual:
            raise VenueRejected(f"the order is for {order.perpetual}, here is {self._terms.perpetual}")
        if not await self._reader.has_code(self._at.clearing_house, block=head):
            raise VenueRejected(f"{self._at.clearing_house} has no code; check the clearing house's address")
        market = await self._reads.market(head)
        self._check_market(market)
        account = await self._reads.account(self._account, market, head)
        if order.action is PerpetualAction.ADD_MARGIN:
            return await self._add(order, account, collateral_usd, head)
        if order.reduce_only:
            return await self._reduce(order, account, head)
        return await self._open(order, market, account, collateral_usd, head)

    def _check_market(self, market: MarketState) -> None:
        """Raise VenueRejected where the chain's market is not the one that was decided on (REL-D8)."""
        if market.symbol != self._terms.symbol:
            raise VenueRejected(f"base token is {market.symbol!r}, expected {self._terms.symbol!r}")
        if market.collateral.lower() != self._at.collateral.lower():
            raise VenueRejected(
                f"the vault settles in {market.collateral}, configured is {self._at.collateral}"
            )
        if market.closed:
            raise VenueRejected(f"{market.closed}; nothing was sent")

    async def _open(
        self,
        order: PerpetualOrder,
        market: MarketState,
        account: AccountState,
        collateral_usd: float,
        head: Block,
    ) -> ExecutionPlan:
        if market.over_spread:
            raise VenueRejected(
                "mark and index are further apart than the market allows (isOverPriceSpread): reduce only"
            )
        if account.size * order.size < 0.0:
            raise VenueRejected(
                f"{account.size:+g} are held: an order to open {order.size:+g} would close them"
            )
        if abs(order.size) < self._terms.min_size:
            raise VenueRejected(f"{abs(order.size):g} are under the least size, {self._terms.min_size:g}")
        margin_raw = self._raw(order.margin_usd / collateral_usd, up=True)
        if not account.size:  # what lies idle from before is used first
            margin_raw = max(margin_raw - account.free_raw, 0)
        if margin_raw:
            await self._trades.check_deposit(margin_raw, owner=self._account, block=head)
        trade = Trade(order.size < 0.0, to_fixed_down(abs(order.size), decimals=WAD_DECIMALS))
        step = await self._trade(order, trade, account.balance_raw + margin_raw, head)
        return self._planned(order, (*self._deposit(margin_raw), step), margin_raw, collateral_usd)

    async def _reduce(self, order: PerpetualOrder, account: AccountState, head: Block) -> ExecutionPlan:
        if account.size * order.size >= 0.0:
            raise VenueRejected(f"{account.size:+g} are held: {order.size:+g} would not reduce them")
        if abs(order.size) > abs(account.size) * (1.0 + SIZE_SLACK):
            raise VenueRejected(f"{account.size:+g} are held, the order would close {order.size:+g}")
        whole = abs(order.size) >= abs(account.size) * (1.0 - SIZE_SLACK)
        amount_raw = abs(account.size_raw) if whole else to_fixed_down(abs(order.size), decimals=WAD_DECIMALS)
        step = await self._trade(order, Trade(order.size < 0.0, amount_raw, closes_all=whole), None, head)
        return self._planned(order, (step,), 0, 1.0)

    async def _add(
        self, order: PerpetualOrder, account: AccountState, collateral_usd: float, head: Block
    ) -> ExecutionPlan:
        if not account.size:
            raise VenueRejected(f"nothing of {self._terms.symbol} is held: there is nothing to add margin to")
        margin_raw = self._raw(order.margin_usd / collateral_usd, up=True)
        if not margin_raw:
            raise VenueRejected(f"margin to be added must be > 0, was {order.margin_usd:g} USD")
        await self._trades.check_deposit(margin_raw, owner=self._account, block=head)
        return self._planned(order, self._deposit(margin_raw), margin_raw, collateral_usd)

    async def after(
        self, order: PerpetualOrder, receipts: Mapping[str, Receipt], *, collateral_usd: float, head: Block
    ) -> ExecutionPlan | None:
        """Return the step that takes back what an order leaves idle, None where there is nothing."""
        if WITHDRAW in receipts:  # tried once, whatever came of it
            return None
        traded, deposited = (
            (item := receipts.get(name)) is not None and item.succeeded for name in (TRADE, DEPOSIT)
        )
        failed = order.action is PerpetualAction.OPEN and deposited and not traded
        if not failed and not (order.reduce_only and traded):
            return None
        market = await self._reads.market(head)
        account = await self._reads.account(self._account, market, head)
        if failed:
            most_raw = self._raw(order.margin_usd / collateral_usd, up=True)
        else:
            most_raw = self._raw(order.release_usd / collateral_usd) if account.size else account.free_raw
        amount_raw = min(account.free_raw, most_raw)
        if amount_raw <= 0:
            return None
        data = VAULT.encode("withdraw", self._at.collateral, amount_raw)
        return ExecutionPlan(
            steps=(
                OnchainTx(
                    purpose=WITHDRAW,
                    to=self._at.vault,
                    data=data,
                    gas_ceiling=self._terms.vault_gas_ceiling,
                    cleanup=True,
                ),
            ),
            trade=WITHDRAW,
            valid_until_s=order.valid_until_s,
            least_usd=amount_raw / 10**self._terms.collateral_decimals * collateral_usd,
        )

    async def _trade(
        self, order: PerpetualOrder, trade: Trade, balance_raw: int | None, head: Block
    ) -> OnchainTx:
        """Run a trade and return its step, bounded by the order's limit and by the price seen."""
        limit_raw = self._limit_raw(order, trade)
        base_raw, quote_raw = await self._trades.quote_raw(
            trade, owner=self._account, balance_raw=balance_raw, block=head, gas=self._terms.trade_gas_ceiling
        )
        price = quote_raw / base_raw
        worse = quote_raw < limit_raw if trade.sells else quote_raw > limit_raw
        if worse and base_raw == trade.amount_raw:
            raise VenueRejected(
                f"the price is {price:,.2f} USD now, fees included, the order's limit is "
                f"{order.limit_usd:,.2f}; nothing was sent"
            )
        slip = self._terms.slippage_bps
        if trade.sells:
            bound_raw = max(limit_raw, quote_raw * (BPS - slip) // BPS, 1)
        else:
            bound_raw = min(limit_raw, -(-quote_raw * (BPS + slip) // BPS))
        data = trade.encode(self._at.base_token, bound_raw=bound_raw, deadline_s=int(order.valid_until_s))
        return OnchainTx(
            purpose=TRADE, to=self._at.clearing_house, data=data, gas_ceiling=self._terms.trade_gas_ceiling
        )

    def _limit_raw(self, order: PerpetualOrder, trade: Trade) -> int:
        """Return the worst total of quote tokens, rounded in the account's favour."""
        if not order.limit_usd > 0.0:
            raise VenueRejected(f"order {order.key} must have a limit price > 0, was {order.limit_usd}")
        total = trade.amount_raw * to_fixed_down(order.limit_usd, decimals=WAD_DECIMALS)
        return -(-total // _WAD) if trade.sells else total // _WAD

    def _deposit(self, amount_raw: int) -> tuple[OnchainTx, ...]:
        if not amount_raw:
            return ()
        data = VAULT.encode("deposit", self._at.collateral, amount_raw)
        ceiling = self._terms.vault_gas_ceiling
        return (OnchainTx(purpose=DEPOSIT, to=self._at.vault, data=data, gas_ceiling=ceiling),)

    def _planned(
        self, order: PerpetualOrder, steps: tuple[OnchainTx, ...], margin_raw: int, collateral_usd: float
    ) -> ExecutionPlan:
        terms = self._terms
        payment = Payment(
            token=self._at.collateral,
            symbol=terms.collateral,
            decimals=terms.collateral_decimals,
            spender=self._at.vault,
            amount_raw=margin_raw,
        )
        return ExecutionPlan(
            steps=steps,
            trade=steps[-1].purpose,
            valid_until_s=order.valid_until_s,
            pays=(payment,) if margin_raw else (),
            most_usd=payment.amount * collateral_usd,
        )

    def _raw(self, amount: float, *, up: bool = False) -> int:
        convert = to_fixed_up if up else to_fixed_down
        return convert(amount, decimals=self._terms.collateral_decimals)
