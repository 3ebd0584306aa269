"""What Lyra v1 (Avalon) says: boards, strikes, trade limits, liquidity, positions, settlement prices.

Everything Lyra calls by 18 decimals is kept here as the integer it is (``_raw``). Contract sources: npm
``@lyrafinance/protocol``, OptionMarket.sol, OptionToken.sol, OptionMarketPricer.sol, LiquidityPool.sol.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError
from bot.model.hedge import OptionType
from bot.model.market import Block
from bot.model.units import WAD_DECIMALS, from_fixed
from bot.ports import Call, ChainReader

MARKET = Abi.load("OptionMarket")
TOKEN = Abi.load("OptionToken")
PRICER = Abi.load("OptionMarketPricer")
POOL = Abi.load("LiquidityPool")
ADAPTER = Abi.load("SynthetixAdapter")
COLLATERAL = Abi.load("ShortCollateral")

# OptionMarket.OptionType; the three short types are never ours.
OPTION_TYPES = {0: OptionType.CALL, 1: OptionType.PUT}
TYPE_CODES = {kind: code for code, kind in OPTION_TYPES.items()}
_MARGIN = 0.99  # of what the bounds leave, since they move with the trade itself
STATE_EMPTY, STATE_ACTIVE, STATE_SETTLED = 0, 1, 4  # OptionToken.PositionState


@dataclass(frozen=True, slots=True, kw_only=True)
class LyraContracts:
    """Addresses of one Lyra market."""

    option_market: str
    option_token: str
    pricer: str
    liquidity_pool: str
    short_collateral: str
    synthetix_adapter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    id: int
    price_raw: int
    skew_raw: int
    board_id: int

    @property
    def usd(self) -> float:
        return wad(self.price_raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One expiry."""

    id: int
    expiry_s: int
    iv_raw: int
    frozen: bool

    def iv(self, strike: Strike) -> float:
        """Return the vol that the AMM marks a strike with, fraction a year: base IV times skew."""
        return wad(self.iv_raw) * wad(strike.skew_raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLimits:
    """What the pricer lets trade, and how far a trade moves the vols."""

    min_delta: float  # of the call; also 1 - min_delta on the other side
    cutoff_s: int  # no opening this near to expiry, closing only by force
    max_base_iv: float
    max_skew: float
    max_vol: float
    standard_size: float  # contracts that move the base IV by one point
    skew_factor: float  # points of skew per point of base IV


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The market at one block."""

    boards: tuple[tuple[Board, tuple[Strike, ...]], ...]
    limits: TradeLimits
    free_liquidity: float  # settlement tokens that may still be locked as collateral
    spot: float  # the market's own price of the underlying; NaN when its oracle refuses one


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionPosition:
    """One position token."""

    id: int
    strike_id: int
    type_code: int
    amount_raw: int
    state: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTerms:
    """What a position's strike says of it."""

    strike: Strike
    board: Board
    settlement_raw: int  # price at expiry; 0 until the board is settled


class LyraReads:
    """Pinned reads of one market. Raises TransientError where a view cannot be read."""

    def __init__(self, reader: ChainReader, contracts: LyraContracts) -> None:
        self.reader = reader
        self.contracts = contracts

    async def listing(self, block: Block) -> Listing:
        """Return all boards that are live, frozen and expired ones included."""
        c = self.contracts
        calls = (
            MARKET.call("getLiveBoards", c.option_market),
            PRICER.call("tradeLimitParams", c.pricer),
            PRICER.call("pricingParams", c.pricer),
            POOL.call("getCurrentLiquidity", c.liquidity_pool),
            ADAPTER.call("getSpotPriceForMarket", c.synthetix_adapter, c.option_market),
        )
        boards, limits, pricing, liquidity, spot = await self.reader.read(calls, block=block)
        ids = _known(boards, "getLiveBoards", block)[0]
        details = await self._all(
            [MARKET.call("getBoardAndStrikeDetails", c.option_market, board_id) for board_id in ids],
            "getBoardAndStrikeDetails",
            block,
        )
        return Listing(
            boards=tuple((_board(row[0]), tuple(map(_strike, row[1]))) for row in details),
            limits=_limits(
                _known(limits, "tradeLimitParams", block), _known(pricing, "pricingParams", block)
            ),
            # A stale oracle makes both revert; then nothing can be traded, and the quotes say so.
            free_liquidity=0.0 if liquidity is None else wad(liquidity[0][0]),
            spot=math.nan if spot is None else wad(spot[0]),
        )

    async def positions(self, account: str, block: Block) -> tuple[OptionPosition, ...]:
        """Return the long positions that the account holds, expired but unsettled ones included."""
        call = TOKEN.call("getOwnerPositions", self.contracts.option_token, account)
        rows = (await self._all([call], "getOwnerPositions", block))[0][0]
        return tuple(item for item in map(_position, rows) if item.type_code in OPTION_TYPES)

    async def position(self, position_id: int, block: Block) -> OptionPosition:
        """Return a position whatever its state; one that never was has state 0."""
        call = TOKEN.call("getOptionPosition", self.contracts.option_token, position_id)
        return _position((await self._all([call], "getOptionPosition", block))[0][0])

    async def terms(self, strike_ids: Sequence[int], block: Block) -> dict[int, PositionTerms]:
        """Return strike, board and settlement price of each strike; unknown strikes have id 0."""
        market = self.contracts.option_market
        ids = sorted(set(strike_ids))
        pairs = await self._all(
            [MARKET.call("getStrikeAndBoard", market, item) for item in ids], "getStrikeAndBoard", block
        )
        settled = await self._all(
            [MARKET.call("getSettlementParameters", market, item) for item in ids],
            "getSettlementParameters",
            block,
        )
        return {
            item: PositionTerms(strike=_strike(pair[0]), board=_board(pair[1]), settlement_raw=int(end[1]))
            for item, pair, end in zip(ids, pairs, settled, strict=True)
        }

    async def spot(self, block: Block) -> float:
        """Return the market's own price of the underlying, NaN when its oracle refuses one."""
        c = self.contracts
        call = ADAPTER.call("getSpotPriceForMarket", c.synthetix_adapter, c.option_market)
        row = (await self.reader.read([call], block=block))[0]
        return math.nan if row is None else wad(row[0])

    async def cutoff_s(self, block: Block) -> int:
        """Return how near to expiry nothing may be opened any more."""
        call = PRICER.call("tradeLimitParams", self.contracts.pricer)
        return int((await self._all([call], "tradeLimitParams", block))[0][2])

    async def base_key(self, block: Block) -> str:
        """Return what the market's underlying is called by its oracle, "sETH"."""
        c = self.contracts
        call = ADAPTER.call("baseKey", c.synthetix_adapter, c.option_market)
        return bytes((await self._all([call], "baseKey", block))[0][0]).rstrip(b"\0").decode("ascii")

    async def _all(self, calls: Sequence[Call], what: str, block: Block) -> list[tuple[Any, ...]]:
        if not calls:
            return []
        return [_known(row, what, block) for row in await self.reader.read(calls, block=block)]


def wad(raw: int) -> float:
    """Return an 18-decimal integer as a float."""
    return from_fixed(raw, decimals=WAD_DECIMALS)


def most_contracts(board: Board, strike: Strike, listing: Listing, *, kind: OptionType) -> float:
    """Return how many contracts the market would sell of a strike now, by liquidity and by its vol bounds.

    A put locks its strike in settlement tokens, a call one unit of the underlying (LiquidityPool.lockQuote,
    lockBase). A purchase lifts base IV and skew in step with its size (OptionMarketPricer.ivImpactForTrade)
    and reverts past their bounds. The delta band is left to the quote itself.
    """
    limits = listing.limits
    locked = wad(strike.price_raw) if kind is OptionType.PUT else listing.spot
    base, skew = wad(board.iv_raw), wad(strike.skew_raw)
    lift = 0.01 / limits.standard_size  # base IV per contract
    by_vol = _positive_root(
        lift * lift * limits.skew_factor,
        lift * skew + lift * limits.skew_factor * base,
        base * skew - limits.max_vol,
    )
    bounds = (
        listing.free_liquidity / locked,
        (limits.max_base_iv - base) / lift,
        (limits.max_skew - skew) / (lift * limits.skew_factor) if limits.skew_factor else math.inf,
        by_vol,
    )
    most = _MARGIN * min(bounds)
    return max(most, 0.0) if all(map(math.isfinite, (locked, most))) else 0.0


def _positive_root(a: float, b: float, c: float) -> float:
    """Return the largest x with ``a x^2 + b x + c <= 0`` for a >= 0 and b > 0; at most 0 when c >= 0."""
    if c >= 0.0:
        return 0.0
    if a == 0.0:
        return -c / b
    return (math.sqrt(b * b - 4.0 * a * c) - b) / (2.0 * a)


def _known(row: tuple[Any, ...] | None, what: str, block: Block) -> tuple[Any, ...]:
    if row is None:
        raise TransientError(f"Lyra's {what} could not be read at block {block.number}; check the addresses")
    return row


def _board(row: Sequence[Any]) -> Board:
    return Board(id=int(row[0]), expiry_s=int(row[1]), iv_raw=int(row[2]), frozen=bool(row[3]))


def _strike(row: Sequence[Any]) -> Strike:
    return Strike(id=int(row[0]), price_raw=int(row[1]), skew_raw=int(row[2]), board_id=int(row[8]))


def _position(row: Sequence[Any]) -> OptionPosition:
    return OptionPosition(
        id=int(row[0]),
        strike_id=int(row[1]),
        type_code=int(row[2]),
        amount_raw=int(row[3]),
        state=int(row[5]),
    )


def _limits(limits: Sequence[Any], pricing: Sequence[Any]) -> TradeLimits:
    return TradeLimits(
        min_delta=wad(limits[0]),
        cutoff_s=int(limits[2]),
        max_base_iv=wad(limits[4]),
        max_skew=wad(limits[6]),
        max_vol=wad(limits[8]),
        standard_size=wad(pricing[7]),
        skew_factor=wad(pricing[8]),
    )
