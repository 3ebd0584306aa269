"""What is read of Nexus Mutual: products, who underwrites them at which price, covers of an account."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError, VenueRejected
from bot.model.cover import ClaimState
from bot.model.market import Block
from bot.model.units import DAY_S, YEAR_S
from bot.ports import Call, ChainReader
from bot.venues.kept_logs import KeptLogs
from bot.venues.nexus_terms import NexusContracts, NexusTerms

COVER = Abi.load("NexusCover")
NFT = Abi.load("NexusCoverNFT")
PRODUCTS = Abi.load("NexusCoverProducts")
STAKING = Abi.load("NexusStakingViewer")
STAKING_POOL = Abi.load("NexusStakingPool")
POOL = Abi.load("NexusPool")
CLAIMS = Abi.load("NexusClaims")
REGISTRY = Abi.load("NexusRegistry")
_PRICE_UNIT = 10_000  # a price is in hundredths of a per cent of the amount, a year
_PRICE_FALL_PER_DAY = 200  # StakingProducts.PRICE_CHANGE_PER_DAY
_CAPACITY_RATIO = 20_000  # covers over stake, of 10,000 (GLOBAL_CAPACITY_RATIO)
_TRANCHE_S, _TRANCHES = 91 * DAY_S, 8  # stake ends by tranches; so many are open (StakingPool)
_UNITS_PER_NXM = 100
_PENDING = 0  # AssessmentOutcome while assessors vote or the cool-down runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as the chain has it."""

    id: int
    name: str
    problem: str  # why it cannot be bought, "" when it can
    min_price: int
    fixed_price: bool
    grace_s: int  # after a cover's end, in which a loss from before can be claimed
    capacity_reduction: int  # of 10,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One staking pool's offer for a product."""

    pool_id: int
    price: int  # a year, of 10,000
    capacity_raw: int  # most that it can still cover so long, raw asset


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCover:
    """A cover of the account, raw."""

    id: int
    product_id: int
    product_name: str
    asset_id: int
    amount_raw: int
    start_s: int
    period_s: int
    grace_s: int
    claim_id: int  # of the last claim on it; 0: none
    claim: ClaimState
    claim_raw: int  # what it asks
    redeem_until_s: int  # a payout that was not taken by then is lost; counts once it was accepted


class NexusReads:
    """Reads of one deployment. Old events of the cover tokens are kept."""

    def __init__(self, reader: ChainReader, contracts: NexusContracts, terms: NexusTerms) -> None:
        self.reader, self.contracts, self.terms = reader, contracts, terms
        self._transfers = KeptLogs(
            reader,
            addresses=[contracts.nft],
            topics=[[NFT.topic("Transfer")]],
            from_block=terms.from_block,
            rescan_blocks=terms.rescan_blocks,
        )

    async def product(self, product_id: int, block: Block) -> Product:
        """Return a product. Raises VenueRejected where there is none or the contracts answer otherwise."""
        c = self.contracts
        rows = await self.reader.read(
            [
                PRODUCTS.call("getProductWithType", c.products, product_id),
                PRODUCTS.call("getProductName", c.products, product_id),
                POOL.call("getAsset", c.pool, c.asset_id),
                COVER.call("DEFAULT_MIN_PRICE_RATIO", c.cover),
            ],
            block=block,
        )
        if any(row is None for row in rows):
            raise VenueRejected(
                f"Nexus Mutual has no product {product_id}, or {c.products} is another contract"
            )
        (found, kind), (name,), (asset,), (least,) = (row for row in rows if row is not None)
        _, min_price, _, assets, _, reduction, is_deprecated, fixed_price = found
        problems = (
            (True, self._asset_problem(asset)),
            (is_deprecated, f"{name} is no longer covered"),
            (assets and not assets >> c.asset_id & 1, f"{name} is not covered in {c.symbol}"),
            (kind[0], f"claims on {name} are not individual ones"),
        )
        return Product(
            id=product_id,
            name=str(name),
            problem=next((words for holds, words in problems if holds and words), ""),
            min_price=min_price or least,
            fixed_price=fixed_price,
            grace_s=int(kind[1]),
            capacity_reduction=reduction,
        )

    def _asset_problem(self, asset: tuple[Any, ...]) -> str:
        token, is_cover_asset, is_abandoned = asset
        if str(token).lower() != self.contracts.token.lower():
            c = self.contracts
            return f"the mutual's asset {c.asset_id} is {token}, configured is {c.token}"
        return "" if is_cover_asset and not is_abandoned else f"{self.contracts.symbol} is no cover asset now"

    async def offers(self, product: Product, period_s: int, block: Block) -> list[Offer]:
        """Return the pools that underwrite a product for a period, cheapest first.

        A private pool takes nobody's stake but its manager's; covers it sells to anybody.
        """
        c = self.contracts
        calls = [
            STAKING.call("getProductPools", c.staking_viewer, product.id),
            POOL.call("getInternalTokenPriceInAsset", c.pool, c.asset_id),
        ]
        pools, nxm = await self.reader.read(calls, block=block)
        if pools is None or nxm is None:
            raise TransientError(f"the staking pools of product {product.id} could not be read")
        ids = [pool[0] for pool in pools[0]]
        addresses = await self._all(
            [STAKING.fixed_call("stakingPool", c.staking_viewer, pool_id) for pool_id in ids], block
        )
        rows = await self.reader.read(
            [
                call
                for pool_id, (pool,) in zip(ids, addresses, strict=True)
                for call in self._pool_calls(pool_id, pool, product, block)
            ],
            block=block,
        )
        first = _first_tranche(block.timestamp_s, period_s + product.grace_s)
        found = []
        for pool_id, listed, capacities, taken in zip(ids, rows[::3], rows[1::3], rows[2::3], strict=True):
            if listed is None or capacities is None or taken is None:
                continue
            capacity_raw = free_units(capacities[0], taken[0], first) * int(nxm[0]) // _UNITS_PER_NXM
            found += [
                Offer(pool_id=pool_id, price=_price(staked, product, block), capacity_raw=capacity_raw)
                for staked in listed[0]
                if staked[0] == product.id and capacity_raw > 0
            ]
        return sorted(found, key=lambda item: (item.price, item.pool_id))

    def _pool_calls(self, pool_id: int, pool: str, product: Product, block: Block) -> tuple[Call, ...]:
        """Return what tells a pool's price for a product, its stake by tranche, and what is taken of it."""
        tranche, reduction = block.timestamp_s // _TRANCHE_S, product.capacity_reduction
        return (
            STAKING.call("getPoolProducts", self.contracts.staking_viewer, pool_id),
            STAKING_POOL.call(
                "getTrancheCapacities", pool, product.id, tranche, _TRANCHES, _CAPACITY_RATIO, reduction
            ),
            STAKING_POOL.call("getActiveAllocations", pool, product.id),
        )

    async def allocation_unit_raw(self, block: Block) -> int:
        """Return what 0.01 NXM is in the asset, rounded up: every part of a cover is rounded up to it."""
        call = POOL.call("getInternalTokenPriceInAsset", self.contracts.pool, self.contracts.asset_id)
        ((price,),) = await self._all([call], block)
        return int(-(-price // _UNITS_PER_NXM))

    async def covers(self, account: str, block: Block) -> list[OwnCover]:
        """Return every cover that the account owns now, ended ones included."""
        owned = await self._owned(account, block)
        c = self.contracts
        calls = [
            call
            for cover_id in owned
            for call in (
                COVER.call("getCoverData", c.cover, cover_id),
                CLAIMS.call("lastClaimSubmissionOnCover", c.claims, cover_id),
            )
        ]
        rows = await self._all(calls, block)
        data = [(cover_id, rows[2 * i][0], rows[2 * i + 1][0]) for i, cover_id in enumerate(owned)]
        names = await self._all(
            [PRODUCTS.call("getProductName", c.products, row[0]) for _, row, _ in data], block
        )
        claimed = [claim for _, _, claim in data if claim]
        details = await self._all(
            [CLAIMS.call("getClaimDetails", c.claims, claim) for claim in claimed], block
        )
        told = {claim: _claim(row[0]) for claim, row in zip(claimed, details, strict=True)}
        return [
            OwnCover(
                id=cover_id,
                product_id=row[0],
                product_name=str(name[0]),
                asset_id=row[1],
                amount_raw=row[2],
                start_s=row[3],
                period_s=row[4],
                grace_s=row[5],
                claim_id=claim,
                claim=told[claim][0] if claim else ClaimState.NONE,
                claim_raw=told[claim][1] if claim else 0,
                redeem_until_s=told[claim][2] if claim else 0,
            )
            for (cover_id, row, claim), name in zip(data, names, strict=True)
        ]

    async def _owned(self, account: str, block: Block) -> list[int]:
        """Return the ids of the cover tokens that came to the account and did not leave it."""
        owner: dict[int, str] = {}
        for item in await self._transfers.until(block):
            _, to, cover_id = NFT.decode_log("Transfer", item.log).values()
            owner[cover_id] = to
        return sorted(cover_id for cover_id, to in owner.items() if to == account.lower())

    async def _all(self, calls: Sequence[Call], block: Block) -> list[tuple[Any, ...]]:
        rows = await self.reader.read(calls, block=block) if calls else []
        if any(row is None for row in rows):
            raise TransientError(f"covers could not be read at block {block.number}")
        return [row for row in rows if row is not None]


def _price(staked: tuple[Any, ...], product: Product, block: Block) -> int:
    """Price as StakingProducts.getPremium: what purchases raised falls by two points a day."""
    _, _, _, target, bumped, bumped_s = staked
    least = max(target, product.min_price)
    fallen = _PRICE_FALL_PER_DAY * (block.timestamp_s - bumped_s) // DAY_S
    return int(least if product.fixed_price else max(bumped - fallen, least))


def _first_tranche(now_s: int, lasts_s: int) -> int:
    """Return the first of the open tranches whose stake outlasts a cover and its grace period."""
    return (now_s + lasts_s) // _TRANCHE_S - now_s // _TRANCHE_S


def _claim(details: tuple[Any, ...]) -> tuple[ClaimState, int, int]:
    """Return (state, amount, until when a payout can be taken) of IClaims.ClaimDetails."""
    _, claim, _, assessment, _, outcome, redeemable, _ = details
    _, cool_down_s, _, voting_end_s, _, _ = assessment
    state = ClaimState.CLOSED
    if claim[4]:
        state = ClaimState.PAID
    elif redeemable:
        state = ClaimState.PAYABLE
    elif outcome == _PENDING:
        state = ClaimState.OPEN
    return state, claim[1], voting_end_s + cool_down_s + claim[3]


def free_units(capacities: Sequence[int], taken: Sequence[int], first: int) -> int:
    """Return what is free from tranche ``first`` on, in 0.01 NXM like what is given.

    As StakingPool._allocate counts: what is taken beyond a tranche's capacity is taken of the next.
    """
    over = free = 0
    for index, (capacity, used) in enumerate(zip(capacities, taken, strict=True)):
        over += used - capacity
        if over < 0:
            free -= over if index >= first else 0
            over = 0
    return free


def premium_raw(amount_raw: int, offer: Offer, *, period_s: int) -> int:
    """Return the premium of a part of a cover, rounded up."""
    return -(-amount_raw * offer.price * period_s // (_PRICE_UNIT * YEAR_S))


def allocations(amount_raw: int, offers: Sequence[Offer]) -> list[list[tuple[Offer, int]]]:
    """Return ways to cover an amount, the cheapest first: how much of a pool is taken only a trial tells."""
    tried = (allocate(amount_raw, offers[index:]) for index in range(len(offers)))
    return [parts for parts in tried if parts]


def allocate(amount_raw: int, offers: Sequence[Offer]) -> list[tuple[Offer, int]]:
    """Return which pool covers how much: in their order, each as far as its stake goes; [] if too little."""
    left_raw, parts = amount_raw, []
    for offer in offers:
        part_raw = min(left_raw, offer.capacity_raw)
        if part_raw > 0:
            parts.append((offer, part_raw))
            left_raw -= part_raw
    return [] if left_raw else parts
