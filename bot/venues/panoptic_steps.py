"""The transactions that plans at Panoptic are made of: payments, deposits, withdrawals, the odd swap."""

from dataclasses import dataclass, replace

from bot.chain.abi import Abi
from bot.errors import VenueRejected
from bot.model.execution import OnchainTx, Payment
from bot.model.market import Block
from bot.model.units import from_fixed, to_fixed_up
from bot.ports import Call, ChainReader
from bot.venues.panoptic_reads import TRACKER, PoolState, Position
from bot.venues.panoptic_terms import BPS, Pair, PanopticContracts, PanopticTerms
from bot.venues.steps import ERC20
from bot.venues.v3_swap import Exact, V3Swap

UNISWAP = Abi.load("UniswapV3Pool")
SWEEP, BUY_UNIT, DEPOSIT_CASH, DEPOSIT_UNIT = "sweep", "buy-unit", "deposit-cash", "deposit-unit"
OPEN, CLOSE, WITHDRAW_CASH, WITHDRAW_UNIT = "open", "close", "withdraw-cash", "withdraw-unit"
ROUNDING_RAW = 4  # a closed position may be left with 1 raw borrowed, whose interest is 1 raw at every touch
WITHDRAW_FREE = "withdraw(uint256,address,address)"
WITHDRAW_WITH = "withdraw(uint256,address,address,uint256[],bool)"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFunding:
    """How some of the underlying is had: from the account, the rest by a swap."""

    pays: tuple[Payment, ...] = ()
    steps: tuple[OnchainTx, ...] = ()
    own_raw: int = 0  # of the account
    cash_raw: int = 0  # most that the swap takes


class PanopticSteps:
    """Steps of one account at one pool."""

    def __init__(
        self, *, reader: ChainReader, contracts: PanopticContracts, terms: PanopticTerms, account: str
    ) -> None:
        self._reader, self._contracts, self._terms, self._account = reader, contracts, terms, account

    async def unit(self, unit_raw: int, state: PoolState, valid_until_s: float, head: Block) -> UnitFunding:
        """Return how ``unit_raw`` of the underlying is had as a deposit; what the account has comes first."""
        if not unit_raw:
            return UnitFunding()
        c = self._contracts
        balance, fee = await self._ints(
            [ERC20.call("balanceOf", c.unit_token, self._account), UNISWAP.call("fee", c.uniswap_pool)], head
        )
        short_raw = max(unit_raw - balance, 0)
        paid = self.payment(c.unit_token, c.unit_tracker, unit_raw, arrives=short_raw > 0)
        if not short_raw:
            return UnitFunding(pays=(paid,), own_raw=unit_raw)
        each = c.price_of_tick(state.tick) * (1.0 + self._terms.swap_slippage_bps / BPS + fee * 1e-6)
        cash_raw = to_fixed_up(
            from_fixed(short_raw, decimals=c.unit_decimals) * each, decimals=c.cash_decimals
        )
        swap = V3Swap(
            exact=Exact.OUT,
            token_in=c.cash_token,
            token_out=c.unit_token,
            pool_fee=fee,
            recipient=self._account,
            valid_until_s=valid_until_s,
            amount_raw=short_raw,
            bound_raw=cash_raw,
        )
        return UnitFunding(
            pays=(self.payment(c.cash_token, c.router, cash_raw), paid),
            steps=(self.step(BUY_UNIT, c.router, swap.data, self._terms.gas.swap_ceiling),),
            own_raw=unit_raw - short_raw,
            cash_raw=cash_raw,
        )

    def sweep(self, assets: Pair) -> tuple[OnchainTx, ...]:
        """Return the withdrawal of what an order that failed left in the pool."""
        c = self._contracts
        rows = (
            (f"{SWEEP}-unit", c.unit_tracker, assets[0]),
            (f"{SWEEP}-cash", c.cash_tracker, assets[1]),
        )
        return tuple(
            self.withdrawal(purpose, tracker, raw - ROUNDING_RAW, [])
            for purpose, tracker, raw in rows
            if raw > ROUNDING_RAW
        )

    def withdrawals(self, out: Pair, others: list[Position], *, again: int = 0) -> tuple[OnchainTx, ...]:
        """``again`` is the block at which one that had no effect is tried anew: a purpose is used once."""
        c, ids = self._contracts, [item.token_id.value for item in others]
        unit = (self.withdrawal(WITHDRAW_UNIT, c.unit_tracker, out[0], ids),) if out[0] > 0 else ()
        purpose = f"{WITHDRAW_CASH}@{again}" if again else WITHDRAW_CASH
        steps = (*unit, self.withdrawal(purpose, c.cash_tracker, out[1], ids))
        return tuple(replace(step, cleanup=True) for step in steps)  # once closed, the money must come out

    def payment(self, token: str, spender: str, amount_raw: int, *, arrives: bool = False) -> Payment:
        c = self._contracts
        is_cash = token == c.cash_token
        return Payment(
            token=token,
            symbol=c.cash if is_cash else c.unit,
            decimals=c.cash_decimals if is_cash else c.unit_decimals,
            spender=spender,
            amount_raw=amount_raw,
            arrives=arrives,
        )

    def deposit(self, purpose: str, tracker: str, amount_raw: int) -> OnchainTx:
        data = TRACKER.encode("deposit", amount_raw, self._account)
        return self.step(purpose, tracker, data, self._terms.gas.deposit_ceiling)

    def withdrawal(self, purpose: str, tracker: str, amount_raw: int, ids: list[int]) -> OnchainTx:
        args = (amount_raw, self._account, self._account)
        data = (
            TRACKER.encode(WITHDRAW_WITH, *args, ids, False) if ids else TRACKER.encode(WITHDRAW_FREE, *args)
        )
        return self.step(purpose, tracker, data, self._terms.gas.withdraw_ceiling)

    def step(self, purpose: str, to: str, data: bytes, gas_ceiling: int) -> OnchainTx:
        return OnchainTx(purpose=purpose, to=to, data=data, gas_ceiling=gas_ceiling)

    async def _ints(self, calls: list[Call], head: Block) -> list[int]:
        rows = await self._reader.read(calls, block=head)
        if any(row is None for row in rows):
            raise VenueRejected(f"a token of {self._account} could not be read at block {head.number}")
        return [int(row[0]) for row in rows if row is not None]
