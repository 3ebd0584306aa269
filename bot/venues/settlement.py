"""Changes the stable the account holds into a venue's settlement token and back, through one Uniswap v3 pool.

Amounts called ``raw`` are chain integers of the token they name. What is paid is rounded up, what is asked
for down. A swap that the pool prices too far from 1 USD is refused: a settlement token off its peg is a
loss at once on the way in, and made final on the way out.
"""

from dataclasses import dataclass
from fractions import Fraction

from bot.chain.abi import Abi
from bot.errors import VenueRejected
from bot.model.execution import OnchainTx
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, Permission
from bot.model.units import from_fixed
from bot.ports import ChainReader
from bot.venues.steps import approval, token_delta
from bot.venues.v3_swap import Exact, V3Swap, swap_rule

QUOTER = Abi.load("QuoterV2")
SWAP_GAS_CEILING = 600_000
BPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StablePair:
    """The two stables and the contracts that change one into the other."""

    stable: str  # symbol, "USDC"
    stable_token: str
    settlement: str  # symbol, "sUSD"
    settlement_token: str
    router: str  # Uniswap v3 SwapRouter
    quoter: str  # QuoterV2
    pool_fee: int  # hundredths of a basis point
    stable_decimals: int = 6
    settlement_decimals: int = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapLimits:
    """Bounds of every swap."""

    slippage_bps: int = 30  # against what the quoter says at the newest block
    max_depeg_bps: int = 200  # of the price of one token in the other, fee and impact included
    min_sweep_raw: int = 10**18  # less than one settlement token is not worth the gas of a swap


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapCost:
    """What changing costs, as fractions of the amount changed; never negative."""

    share_in: float
    share_out: float


class SettlementSwap:
    """Quotes exact-input swaps of one pair and says how to do them."""

    def __init__(self, *, reader: ChainReader, pair: StablePair, limits: SwapLimits | None = None) -> None:
        self.reader = reader
        self.pair = pair
        self.limits = limits or SwapLimits()

    def permissions(self) -> tuple[Permission, ...]:
        """Return every call and allowance that a swap may hold."""
        pair = self.pair
        # Only what is bought is paid in the settlement token: into it a swap opens, out of it it closes.
        # What a swap may take is bounded by its allowance.
        ways = (
            (pair.stable_token, pair.settlement_token, True),
            (pair.settlement_token, pair.stable_token, False),
        )
        return (
            ApprovalRule(token=pair.stable_token.lower(), spender=pair.router.lower(), opens=True),
            ApprovalRule(token=pair.settlement_token.lower(), spender=pair.router.lower(), opens=False),
            *(
                swap_rule(pair.router, Exact.IN, opens=opens, token_in=paid, token_out=got)
                for paid, got, opens in ways
            ),
        )

    async def stable_needed_raw(self, settlement_raw: int, *, block: Block) -> int:
        """Return the stable that buys exactly ``settlement_raw`` now. Raises VenueRejected when none does."""
        pair = self.pair
        order = (pair.stable_token, pair.settlement_token, settlement_raw, pair.pool_fee, 0)
        return await self._quote("quoteExactOutputSingle", order, block=block)

    async def stable_received_raw(self, settlement_raw: int, *, block: Block) -> int:
        """Return the stable that ``settlement_raw`` brings now. Raises VenueRejected when nothing does."""
        pair = self.pair
        order = (pair.settlement_token, pair.stable_token, settlement_raw, pair.pool_fee, 0)
        return await self._quote("quoteExactInputSingle", order, block=block)

    async def cost(
        self, settlement_raw: int, *, block: Block, stable_usd: float, settlement_usd: float
    ) -> SwapCost:
        """Return what changing ``settlement_raw`` in and back costs at given prices of the two stables.

        Raises VenueRejected when the pool is too far from 1 USD or cannot give that much.
        """
        needed_raw = await self.stable_needed_raw(settlement_raw, block=block)
        self._check_peg(stable_raw=needed_raw, settlement_raw=settlement_raw)
        back_raw = await self.stable_received_raw(settlement_raw, block=block)
        worth_usd = self.settlement_amount(settlement_raw) * settlement_usd
        paid_usd = self.stable_amount(needed_raw) * stable_usd
        back_usd = self.stable_amount(back_raw) * stable_usd
        return SwapCost(
            share_in=max(paid_usd / worth_usd - 1.0, 0.0), share_out=max(1.0 - back_usd / worth_usd, 0.0)
        )

    async def bound_in_raw(self, shortfall_raw: int, *, block: Block) -> int:
        """Return the stable to put in so that at least ``shortfall_raw`` comes out, slippage included.

        Raises VenueRejected when the pool is too far from 1 USD or cannot give that much.
        """
        needed_raw = await self.stable_needed_raw(shortfall_raw, block=block)
        self._check_peg(stable_raw=needed_raw, settlement_raw=shortfall_raw)
        return -(-needed_raw * (BPS + self.limits.slippage_bps) // BPS)

    def swap_in(
        self, *, stable_raw: int, min_settlement_raw: int, account: str, valid_until_s: float
    ) -> tuple[OnchainTx, ...]:
        """Return the steps that change exactly ``stable_raw``; the caller revokes what is left."""
        return self._steps(
            "swap-in",
            (self.pair.stable_token, self.pair.settlement_token),
            (stable_raw, min_settlement_raw),
            account=account,
            valid_until_s=valid_until_s,
        )

    async def swap_out(
        self, *, settlement_raw: int, block: Block, account: str, valid_until_s: float
    ) -> tuple[OnchainTx, ...]:
        """Return the steps that change exactly ``settlement_raw`` back.

        Raises VenueRejected when the pool pays too little.
        """
        quoted_raw = await self.stable_received_raw(settlement_raw, block=block)
        self._check_peg(stable_raw=quoted_raw, settlement_raw=settlement_raw)
        return self._steps(
            "swap-out",
            (self.pair.settlement_token, self.pair.stable_token),
            (settlement_raw, quoted_raw * (BPS - self.limits.slippage_bps) // BPS),
            account=account,
            valid_until_s=valid_until_s,
        )

    def cost_usd(self, receipt: Receipt, *, account: str, stable_usd: float, settlement_usd: float) -> float:
        """Return what one executed swap cost, by the tokens that moved; negative when it gained."""
        pair = self.pair
        stable_raw = token_delta(receipt, token=pair.stable_token, account=account)
        settlement_raw = token_delta(receipt, token=pair.settlement_token, account=account)
        return -(
            self.stable_amount(stable_raw) * stable_usd
            + self.settlement_amount(settlement_raw) * settlement_usd
        )

    def stable_amount(self, raw: int) -> float:
        return from_fixed(raw, decimals=self.pair.stable_decimals)

    def settlement_amount(self, raw: int) -> float:
        return from_fixed(raw, decimals=self.pair.settlement_decimals)

    async def _quote(self, function: str, order: tuple[object, ...], *, block: Block) -> int:
        quoter = self.pair.quoter
        data = await self.reader.simulate(
            to=quoter, data=QUOTER.encode(function, order), block=block, sender=quoter
        )
        return int(QUOTER.decode(function, data)[0])

    def _steps(
        self,
        purpose: str,
        tokens: tuple[str, str],
        amounts_raw: tuple[int, int],
        *,
        account: str,
        valid_until_s: float,
    ) -> tuple[OnchainTx, ...]:
        """Approve exactly the input, then swap it; ``amounts_raw`` is (in, least out)."""
        token_in, token_out = tokens
        router = self.pair.router
        swap = V3Swap(
            exact=Exact.IN,
            token_in=token_in,
            token_out=token_out,
            pool_fee=self.pair.pool_fee,
            recipient=account,
            valid_until_s=valid_until_s,
            amount_raw=amounts_raw[0],
            bound_raw=amounts_raw[1],
        )
        grant = approval(f"approve-{purpose}", token=token_in, spender=router, amount_raw=amounts_raw[0])
        return grant, OnchainTx(purpose=purpose, to=router, data=swap.data, gas_ceiling=SWAP_GAS_CEILING)

    def _check_peg(self, *, stable_raw: int, settlement_raw: int) -> None:
        pair = self.pair
        price = Fraction(stable_raw * 10**pair.settlement_decimals, 10**pair.stable_decimals)
        price /= max(settlement_raw, 1)
        if abs(price - 1) * BPS > self.limits.max_depeg_bps:
            raise VenueRejected(
                f"the pool gives {float(price):.4f} {pair.stable} per {pair.settlement}, "
                f"allowed is 1 +- {self.limits.max_depeg_bps / BPS:.4f}; nothing was swapped"
            )
