"""What is read of one Panoptic v2 pool: state and rules, the chunks that were sold, positions of an account.

Nothing on the chain lists positions: they are found by the pool's own events, and that all were found is
checked against its count of legs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.venues.kept_logs import KeptLogs
from bot.venues.overrides import FundedSender, Layout, state_diff
from bot.venues.panoptic_terms import RATIO_UNIT, Chunk, Pair, PanopticContracts, PanopticTerms
from bot.venues.panoptic_token_id import (
    Leg,
    TokenId,
    liquidity_of,
    notional_of,
    pool_id_v2,
    split,
    split_signed,
)

POOL = Abi.load("PanopticPool")
TRACKER = Abi.load("PanopticCollateralTracker")
ENGINE = Abi.load("PanopticRiskEngine")
UNISWAP = Abi.load("UniswapV3Pool")
_SIZE = 2**128 - 1
_MINT_TIME = 184
_SHADOW = "0x" + "51ade" * 8  # nobody's address: in a trial it holds what is lent, and nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The risk engine's numbers that money depends on, and the pool's grid."""

    pool_id: int
    tick_spacing: int
    notional_fee: int  # of 10,000
    premium_fee: int
    buyer_ratio: int  # of 10,000,000
    buffer: int
    max_spread: int  # of 10,000
    vegoid: int

    def margin_raw(self, notional_raw: int) -> int:
        return margin_raw(notional_raw, buyer_ratio=self.buyer_ratio, buffer=self.buffer)

    def commission_raw(self, notional_raw: int) -> int:
        return -(-notional_raw * self.notional_fee // 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """One block's state of the pool."""

    rules: Rules
    tick: int
    sqrt_price_x96: int
    safe_mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One bought put of the account."""

    token_id: TokenId
    chunk: Chunk
    size_raw: int  # as Panoptic keeps it: contracts over the leg's ratio
    minted_s: int
    owed: Pair = (0, 0)  # premium that has streamed since and is not paid, raw (underlying, cash)

    @property
    def id(self) -> str:
        """One name for one life: the same tokenId may be minted again after it was burnt."""
        return position_name(self.token_id.value, self.minted_s)

    @property
    def contracts_raw(self) -> int:
        return self.size_raw * self.token_id.legs[0].ratio


def notional_raw(chunk: Chunk, contracts_raw: int, *, unit_index: int, tick_spacing: int) -> int:
    """Return the cash of the chunk when it is wholly cash: what the put sells the underlying for."""
    lower, upper = chunk.ticks(tick_spacing)
    liquidity = liquidity_of(contracts_raw, asset=unit_index, lower=lower, upper=upper)
    return notional_of(liquidity, token_type=1 - unit_index, lower=lower, upper=upper)


def margin_raw(notional: int, *, buyer_ratio: int, buffer: int) -> int:
    """Return the cash that a bought put of this notional ties up, rounded up."""
    return -(-notional * buyer_ratio * buffer // RATIO_UNIT**2) + 2


def position_name(token_id: int, minted_s: int) -> str:
    return f"{token_id:#x}@{minted_s}"


class PanopticReads:
    """Reads of one pool. Events that are old enough never to change are kept."""

    def __init__(self, reader: ChainReader, contracts: PanopticContracts, terms: PanopticTerms) -> None:
        self.reader, self.contracts, self.terms = reader, contracts, terms
        self._funded = FundedSender(reader)
        self._layouts: dict[str, Layout | None] = {}
        self.events = KeptLogs(  # every mint and burn
            reader,
            addresses=[contracts.pool],
            topics=[[POOL.topic("OptionMinted"), POOL.topic("OptionBurnt")]],
            from_block=terms.from_block,
            rescan_blocks=terms.rescan_blocks,
        )

    async def state(self, block: Block) -> PoolState:
        """Return the pool's state. Raises VenueRejected for what is no v2 pool as we know it."""
        c = self.contracts
        rows = await self.reader.read(
            [
                UNISWAP.call("slot0", c.uniswap_pool),
                POOL.call("isSafeMode", c.pool),
                POOL.call("poolId", c.pool),
                POOL.call("tickSpacing", c.pool),
                POOL.call("riskEngine", c.pool),
                *self._wiring_calls(),
            ],
            block=block,
        )
        slot0, safe_mode, pool_id, spacing, engine, *wiring = self._known(rows)
        self._check_wiring([str(row[0]).lower() for row in wiring])
        rules = await self._rules(str(engine[0]), int(pool_id[0]), int(spacing[0]), block)
        return PoolState(
            rules=rules, tick=int(slot0[1]), sqrt_price_x96=int(slot0[0]), safe_mode=int(safe_mode[0])
        )

    def _wiring_calls(self) -> list[Call]:
        c = self.contracts
        trackers = (c.unit_tracker, c.cash_tracker)
        names = ("collateralToken0", "collateralToken1")
        pool_calls = [POOL.fixed_call(name, c.pool) for name in names]
        return [*pool_calls, *(TRACKER.fixed_call("asset", tracker) for tracker in trackers)]

    def _check_wiring(self, found: Sequence[str]) -> None:
        c = self.contracts
        trackers = (c.unit_tracker, c.cash_tracker)
        wanted = trackers if c.unit_index == 0 else trackers[::-1]
        told = tuple(item.lower() for item in (*wanted, c.unit_token, c.cash_token))
        if tuple(found) != told:
            raise VenueRejected(
                f"{c.pool} keeps its collateral in {list(found)}, configured is {list(told)}; "
                "check the addresses"
            )

    async def _rules(self, engine: str, pool_id: int, spacing: int, block: Block) -> Rules:
        names = (
            "NOTIONAL_FEE", "PREMIUM_FEE", "BUYER_COLLATERAL_RATIO", "BP_DECREASE_BUFFER", "MAX_SPREAD",
            "VEGOID",
        )  # fmt: skip
        rows = self._known(await self.reader.read([ENGINE.call(name, engine) for name in names], block=block))
        fee, premium_fee, ratio, buffer, spread, vegoid = (int(row[0]) for row in rows)
        wanted = pool_id_v2(self.contracts.uniswap_pool, vegoid=vegoid, tick_spacing=spacing)
        if pool_id != wanted:
            raise VenueRejected(
                f"{self.contracts.pool} has poolId {pool_id:#x}, a v2 pool on "
                f"{self.contracts.uniswap_pool} has {wanted:#x}: v1 pools are never traded with"
            )
        return Rules(
            pool_id=pool_id,
            tick_spacing=spacing,
            notional_fee=fee,
            premium_fee=premium_fee,
            buyer_ratio=ratio,
            buffer=buffer,
            max_spread=spread,
            vegoid=vegoid,
        )

    def _known(self, rows: Sequence[tuple[Any, ...] | None]) -> list[tuple[Any, ...]]:
        if any(row is None for row in rows):
            raise VenueRejected(
                f"{self.contracts.pool} does not answer as a Panoptic v2 pool; check the address, and "
                "whether it was upgraded"
            )
        return [row for row in rows if row is not None]

    async def chunks(self, block: Block) -> list[Chunk]:
        """Return every chunk in which a put was ever sold."""
        found = set()
        for log in await self.events.until(block):
            if POOL.is_event("OptionMinted", log.log):
                token_id = TokenId.of(POOL.decode_log("OptionMinted", log.log)["tokenId"])
                found |= {self._chunk(leg) for leg in token_id.legs if self._is_put(leg) and not leg.is_long}
        return sorted(item for item in found if item.width)

    async def liquidity(self, chunks: Sequence[Chunk], rules: Rules, block: Block) -> list[tuple[int, int]]:
        """Return (net, removed) liquidity of each chunk's puts."""
        pool, spacing = self.contracts.pool, rules.tick_spacing
        calls = [POOL.call("getChunkData", pool, *chunk.ticks(spacing)) for chunk in chunks]
        rows = await self.reader.read(calls, block=block)
        return [(0, 0) if row is None else split(row[1 - self.contracts.unit_index]) for row in rows]

    async def positions(self, account: str, block: Block) -> list[Position]:
        """Return the account's bought puts, in the order they were minted.

        Raises VenueRejected where it holds other options: they are a person's, and every dispatch must name
        them too. Raises TransientError where events and the pool's own count differ.
        """
        open_ids: dict[int, int] = {}  # token id -> time of its mint
        for log in await self.events.until(block):
            name = "OptionMinted" if POOL.is_event("OptionMinted", log.log) else "OptionBurnt"
            event = POOL.decode_log(name, log.log)
            if event["recipient"] == account.lower():
                if name == "OptionMinted":
                    open_ids[event["tokenId"]] = event["balanceData"] >> _MINT_TIME & 0xFFFFFFFF
                else:
                    open_ids.pop(event["tokenId"], None)
        return await self._read_positions(account, open_ids, block)

    async def _read_positions(self, account: str, open_ids: dict[int, int], block: Block) -> list[Position]:
        pool, ids = self.contracts.pool, list(open_ids)
        calls = [POOL.call("numberOfLegs", pool, account)]
        calls += [POOL.call("getFullPositionsData", pool, account, True, ids)] if ids else []
        legs, *details = await self.reader.read(calls, block=block)
        named = [TokenId.of(value) for value in ids]
        counted = sum(len(item.legs) for item in named)
        if legs is None or legs[0] != counted or any(row is None for row in details):
            told = "unknown" if legs is None else legs[0]
            raise TransientError(
                f"{account} has {told} legs in {pool}, its events since block {self.terms.from_block} show "
                f"{counted}; is from_block the block of the pool's deployment?"
            )
        if any(len(item.legs) != 1 or not self._is_ours(item.legs[0]) for item in named):
            raise VenueRejected(
                f"{account} holds options in {pool} that are no bought puts; a person must close them"
            )
        if not details or details[0] is None:
            return []
        _, _, balances, _, net = details[0]
        return [
            Position(
                token_id=token_id,
                chunk=self._chunk(token_id.legs[0]),
                size_raw=balance & _SIZE,
                minted_s=open_ids[token_id.value],
                owed=self._owed(premium),
            )
            for token_id, balance, premium in zip(named, balances, net, strict=True)
        ]

    def _owed(self, net: int) -> Pair:
        first, second = split_signed(net)
        return self.contracts.ordered((-first, -second))

    async def assets(self, account: str, block: Block) -> Pair:
        """Return the account's collateral, raw (underlying, cash)."""
        row = (await self.reader.read([POOL.call("getAssetsOf", self.contracts.pool, account)], block=block))[
            0
        ]
        if row is None:
            raise TransientError(f"the collateral of {account} in {self.contracts.pool} could not be read")
        return self.contracts.ordered((int(row[0]), int(row[1])))

    async def dispatched(self, data: bytes, *, account: str, lent: Pair, block: Block) -> tuple[Pair, int]:
        """Run a dispatch as if the account had ``lent`` more collateral: its gain, raw, and the tick after.

        Shares that are lent earn too, commission and the interest that a dispatch accrues: what a shadow
        that is lent the same earns is taken off. Raises VenueRejected with the pool's reason.
        """
        overrides = await self._lending(account, lent, block)
        looks = [POOL.encode("getAssetsOf", who) for who in (account, _SHADOW)]
        answer = await self.reader.simulate(
            to=self.contracts.pool,
            data=POOL.encode("multicall", [*looks, data, *looks, POOL.encode("getCurrentTick")]),
            block=block,
            sender=account,
            overrides=overrides or None,
        )
        (results,) = POOL.decode("multicall", answer)
        own, shadow, own_after, shadow_after = (
            POOL.decode("getAssetsOf", results[index]) for index in (0, 1, 3, 4)
        )
        first, second = (
            int(own_after[i]) - int(own[i]) - int(shadow_after[i]) + int(shadow[i]) for i in (0, 1)
        )
        return self.contracts.ordered((first, second)), int(POOL.decode("getCurrentTick", results[5])[0])

    async def _lending(self, account: str, lent: Pair, block: Block) -> dict[str, Any]:
        """Return state overrides that lend collateral; none where the node or the tracker takes none."""
        trackers = (self.contracts.unit_tracker, self.contracts.cash_tracker)
        calls = [
            call
            for tracker, raw in zip(trackers, lent, strict=True)
            for call in (
                TRACKER.call("balanceOf", tracker, account),
                TRACKER.call("convertToShares", tracker, raw),
            )
        ]
        rows = await self.reader.read(calls, block=block)
        found: dict[str, Any] = {}
        for index, tracker in enumerate(trackers):
            held, more = rows[2 * index], rows[2 * index + 1]
            layout = await self._layout(tracker, account, block)
            if layout is not None and held is not None and more is not None:
                shares = {layout.of(account): int(held[0]) + int(more[0]), layout.of(_SHADOW): int(more[0])}
                found.update(state_diff(tracker, shares))
        return found

    async def _layout(self, tracker: str, account: str, block: Block) -> Layout | None:
        """Return where a tracker keeps its shares; asked once."""
        if tracker not in self._layouts:
            view = TRACKER.encode("balanceOf", account)
            self._layouts[tracker] = await self._funded.probe(tracker, view, lambda at: at.of(account), block)
        return self._layouts[tracker]

    def _chunk(self, leg: Leg) -> Chunk:
        return Chunk(strike=leg.strike, width=leg.width)

    def _is_put(self, leg: Leg) -> bool:
        return leg.token_type == 1 - self.contracts.unit_index

    def _is_ours(self, leg: Leg) -> bool:
        return self._is_put(leg) and leg.is_long and leg.asset == self.contracts.unit_index and leg.width > 0
