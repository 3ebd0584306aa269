"""What Hegic Herge says: what is sold and at what premium, its funds, and the positions of an account.

Contract sources: hegic/contracts, packages/herge. Money is in units of the treasury's token (``_raw``),
amounts have the decimals of the underlying, strikes and spot those of the strategy's Chainlink feed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError
from bot.model.market import Block
from bot.model.units import from_fixed
from bot.ports import Call, ChainReader
from bot.venues.hegic_terms import HegicContracts, HegicStrategy
from bot.venues.steps import ERC20

TREASURY = Abi.load("HegicOperationalTreasury")
STRATEGY = Abi.load("HegicStrategy")
MANAGER = Abi.load("HegicPositionsManager")
COVER = Abi.load("HegicCoverPool")
PRICER = Abi.load("HegicPriceCalculator")
FEED = Abi.load("AggregatorV3Interface")

LOCKED = 1  # OperationalTreasury.LockedLiquidityState: open; 0 once it was exercised or unlocked
_SCAN = 400  # owners asked for in one request
_ANY_TIME = 2**48 - 1  # exerciseWindowDuration of a strategy without a window


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """What the venue can pay from at one block."""

    held_raw: int  # by the treasury
    cover_raw: int  # that the cover pool would pay
    locked_raw: int  # for open options, premiums included

    @property
    def free_raw(self) -> int:
        return max(self.held_raw + self.cover_raw - self.locked_raw, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """One strategy at one block."""

    strategy: HegicStrategy
    problem: str  # why nothing of it can be bought, "" when something can
    periods_s: tuple[int, int]  # shortest and longest
    spot: float  # of its own feed, USD


@dataclass(frozen=True, slots=True, kw_only=True)
class HegicPosition:
    """One open option of an account."""

    id: int
    strategy: HegicStrategy
    amount_raw: int
    spot: float  # that it was struck from
    expires_s: int  # nothing is paid at this time or after it
    window_s: int | None  # last seconds in which it can be exercised; None: any time before expiry
    payoff_raw: int  # by exercise at the feed's price now

    @property
    def size(self) -> float:
        return from_fixed(self.amount_raw, decimals=self.strategy.decimals)


class HegicReads:
    """Pinned reads of one system. Raises TransientError where a view cannot be read."""

    def __init__(self, reader: ChainReader, contracts: HegicContracts) -> None:
        self.reader = reader
        self.contracts = contracts
        self._by_address = {item.address: item for item in contracts.strategies}
        self._known_ids: dict[str, tuple[int, ...]] = {}  # account -> ids it held when last asked

    async def funds(self, block: Block) -> Funds:
        c = self.contracts
        calls = (
            TREASURY.call("totalBalance", c.treasury),
            COVER.call("availableForPayment", c.cover_pool),
            TREASURY.call("totalLocked", c.treasury),
            TREASURY.call("lockedPremium", c.treasury),
        )
        held, cover, locked, premiums = await self._ints(calls, "funds", block)
        return Funds(held_raw=held, cover_raw=cover, locked_raw=locked + premiums)

    async def wiring(self, block: Block) -> str:
        """Return how the contracts differ from what is configured, "" when they do not (REL-D8)."""
        c = self.contracts
        expected = {"token": c.token, "manager": c.manager, "coverPool": c.cover_pool}
        calls = [TREASURY.call(name, c.treasury) for name in expected]
        rows = await self.reader.read(calls, block=block)
        for (name, address), row in zip(expected.items(), rows, strict=True):
            if row is None or str(row[0]).lower() != address.lower():
                found = "nothing" if row is None else row[0]
                return f"the treasury's {name} is {found}, configured is {address}"
        return ""

    async def sold(self, strategies: Sequence[HegicStrategy], block: Block) -> tuple[Sold, ...]:
        """Return what each strategy says of itself."""
        c = self.contracts
        calls = [
            call
            for item in strategies
            for call in (
                TREASURY.call("acceptedStrategy", c.treasury, item.address),
                STRATEGY.call("pool", item.address),
                STRATEGY.call("minPeriod", item.address),
                STRATEGY.call("maxPeriod", item.address),
                STRATEGY.fixed_call("priceProvider", item.address),
                STRATEGY.call("pricer", item.address),
            )
        ]
        rows = await self.reader.read(calls, block=block)
        groups = [rows[start : start + 6] for start in range(0, len(rows), 6)]
        spots = await self._spots([row[4] for row in groups], block)
        priced = await self._priced_periods([row[5] for row in groups], block)
        return tuple(
            _sold(item, group, spot, periods, c.treasury)
            for item, group, spot, periods in zip(strategies, groups, spots, priced, strict=True)
        )

    async def premiums(
        self, orders: Sequence[tuple[HegicStrategy, int, int]], block: Block
    ) -> list[int | None]:
        """Return the premium of each (strategy, amount, period), None where none is quoted."""
        calls = [
            STRATEGY.call("calculateNegativepnlAndPositivepnl", item.address, amount_raw, period_s, [])
            for item, amount_raw, period_s in orders
        ]
        rows = await self.reader.read(calls, block=block) if calls else []
        return [None if row is None else int(row[1]) for row in rows]

    async def available(self, orders: Sequence[tuple[HegicStrategy, int]], block: Block) -> list[int]:
        """Return how much of each (strategy, period) is for sale, by limits and funds; 0 where it reverts."""
        calls = [
            STRATEGY.call("getAvailableContracts", item.address, period_s, []) for item, period_s in orders
        ]
        rows = await self.reader.read(calls, block=block) if calls else []
        return [0 if row is None else int(row[0]) for row in rows]

    async def positions(self, account: str, block: Block) -> tuple[HegicPosition, ...]:
        """Return the open options of an account that have not expired, oldest first."""
        ids = await self._ids(account, block)
        c = self.contracts
        locks = await self._all([TREASURY.call("lockedLiquidity", c.treasury, i) for i in ids], "lock", block)
        open_ids = [
            (number, self._by_address[strategy], expires_s)
            for number, (state, strategy, _, _, expires_s) in zip(ids, locks, strict=True)
            if state == LOCKED and expires_s > block.timestamp_s and strategy in self._by_address
        ]
        return tuple(await self._positions(open_ids, block))

    async def lock(self, position_id: int, block: Block) -> tuple[int, str, int]:
        """Return (state, strategy, expiration) of a position; zeros for one that never was."""
        call = TREASURY.call("lockedLiquidity", self.contracts.treasury, position_id)
        state, strategy, _, _, expires_s = (await self._all([call], "lockedLiquidity", block))[0]
        return int(state), str(strategy), int(expires_s)

    async def owner(self, position_id: int, block: Block) -> str:
        """Return the holder of a position in lower case, "" for one that does not exist."""
        call = MANAGER.call("ownerOf", self.contracts.manager, position_id)
        row = (await self.reader.read([call], block=block))[0]
        return "" if row is None else str(row[0]).lower()

    async def _ids(self, account: str, block: Block) -> tuple[int, ...]:
        """Return the ids of an account's positions, ended ones included.

        They are not enumerable but numbered: those known are asked again, and as long as the account holds
        more than were found, owners are read from the newest id down.
        """
        manager, own = self.contracts.manager, account.lower()
        known = self._known_ids.get(own, ())
        calls = (ERC20.call("balanceOf", manager, account), MANAGER.call("nextTokenId", manager))
        count, following = await self._ints(calls, "positions", block)
        found = await self._owned(known, own, block) if known and count else []
        top = following
        while len(found) < count and top > 0:
            bottom = max(top - _SCAN, 0)
            fresh = [number for number in range(top - 1, bottom - 1, -1) if number not in known]
            found += await self._owned(fresh, own, block)
            top = bottom
        if len(found) != count:
            raise TransientError(f"{account} holds {count} Hegic positions, {len(found)} of them were found")
        self._known_ids[own] = tuple(sorted(found))
        return self._known_ids[own]

    async def _owned(self, ids: Sequence[int], own: str, block: Block) -> list[int]:
        calls = [MANAGER.call("ownerOf", self.contracts.manager, number) for number in ids]
        rows = await self.reader.read(calls, block=block) if calls else []
        return [number for number, row in zip(ids, rows, strict=True) if row and str(row[0]).lower() == own]

    async def _positions(
        self, found: Sequence[tuple[int, HegicStrategy, int]], block: Block
    ) -> list[HegicPosition]:
        calls = [
            call
            for number, strategy, _ in found
            for call in (
                STRATEGY.call("strategyData", strategy.address, number),
                STRATEGY.call("payOffAmount", strategy.address, number),
                STRATEGY.fixed_call("exerciseWindowDuration", strategy.address),
                STRATEGY.fixed_call("priceProvider", strategy.address),
            )
        ]
        rows = await self._all(calls, "position", block)
        groups = [rows[start : start + 4] for start in range(0, len(rows), 4)]
        decimals = await self._all(
            [FEED.fixed_call("decimals", group[3][0]) for group in groups], "decimals", block
        )
        return [
            HegicPosition(
                id=number,
                strategy=strategy,
                amount_raw=int(data[0]),
                spot=from_fixed(data[1], decimals=places[0]),
                expires_s=expires_s,
                window_s=None if window[0] >= _ANY_TIME else int(window[0]),
                payoff_raw=int(payoff[0]),
            )
            for (number, strategy, expires_s), (data, payoff, window, _), places in zip(
                found, groups, decimals, strict=True
            )
        ]

    async def _spots(self, feeds: Sequence[tuple[Any, ...] | None], block: Block) -> list[float]:
        """Return the answer of each feed in USD, NaN where there is none."""
        known = sorted({row[0] for row in feeds if row is not None})
        calls = [call for feed in known for call in _feed_calls(feed)]
        rows = await self.reader.read(calls, block=block) if calls else []
        prices = {feed: _answer(rows[2 * place], rows[2 * place + 1]) for place, feed in enumerate(known)}
        return [float("nan") if row is None else prices[row[0]] for row in feeds]

    async def _priced_periods(
        self, pricers: Sequence[tuple[Any, ...] | None], block: Block
    ) -> list[tuple[int, int] | None]:
        """Return the periods that each pricer has a price for: 7 to 45 days unless its owner set others."""
        known = sorted({row[0] for row in pricers if row is not None})
        calls = [PRICER.call(name, pricer) for pricer in known for name in ("minPeriod", "maxPeriod")]
        rows = await self.reader.read(calls, block=block) if calls else []
        found: dict[str, tuple[int, int] | None] = {}
        for pricer, shortest, longest in zip(known, rows[::2], rows[1::2], strict=True):
            found[pricer] = None if shortest is None or longest is None else (shortest[0], longest[0])
        return [None if row is None else found[row[0]] for row in pricers]

    async def _ints(self, calls: Sequence[Call], what: str, block: Block) -> list[int]:
        return [int(row[0]) for row in await self._all(calls, what, block)]

    async def _all(self, calls: Sequence[Call], what: str, block: Block) -> list[tuple[Any, ...]]:
        rows = await self.reader.read(calls, block=block) if calls else []
        if any(row is None for row in rows):
            raise TransientError(f"{what} of Hegic could not be read at block {block.number}")
        return [row for row in rows if row is not None]


def _feed_calls(feed: str) -> tuple[Call, Call]:
    return FEED.call("latestRoundData", feed), FEED.fixed_call("decimals", feed)


def _answer(data: tuple[Any, ...] | None, decimals: tuple[Any, ...] | None) -> float:
    if data is None or decimals is None or data[1] <= 0:
        return float("nan")
    return from_fixed(data[1], decimals=decimals[0])


def _sold(
    strategy: HegicStrategy,
    group: Sequence[tuple[Any, ...] | None],
    spot: float,
    priced: tuple[int, int] | None,
    treasury: str,
) -> Sold:
    accepted, pool, shortest, longest, *_ = group
    if shortest is None or longest is None or accepted is None or pool is None or priced is None:
        return Sold(strategy=strategy, problem="it does not answer", periods_s=(0, 0), spot=spot)
    periods_s = max(int(shortest[0]), priced[0]), min(int(longest[0]), priced[1])
    problem = ""
    if not accepted[0]:
        problem = "the treasury does not accept the strategy"
    elif str(pool[0]).lower() != treasury.lower():
        problem = f"the strategy belongs to treasury {pool[0]}"
    elif not spot > 0.0:
        problem = "its price feed gives no price"
    elif periods_s[0] > periods_s[1]:
        problem = f"its pricer prices {priced[0]} to {priced[1]} seconds, it sells from {shortest[0]} on"
    return Sold(strategy=strategy, problem=problem, periods_s=periods_s, spot=spot)
