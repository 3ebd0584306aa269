"""Nexus Mutual: protocol covers as tokens (npm ``@nexusmutual/deployments``).

Covers are quoted and bought through the one executor; they cannot be sold. A claim is made ready for a person
and never sent: the signer has no rule for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.errors import InvariantError, VenueRejected
from bot.model.cover import ClaimDraft, ClaimState, CoverFact, CoverOrder, CoverQuote, HeldCover
from bot.model.execution import ExecutionPlan, OnchainTx, Payment
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import ApprovalRule, CallRule, Guard, Permission
from bot.model.units import DAY_S, from_fixed, to_fixed_down, to_fixed_up
from bot.ports import ChainReader, MarketView
from bot.venues.capabilities import CAPABILITIES
from bot.venues.nexus_reads import (
    CLAIMS,
    COVER,
    NFT,
    REGISTRY,
    NexusReads,
    Offer,
    OwnCover,
    allocations,
    premium_raw,
)
from bot.venues.nexus_terms import MAX_PERIOD_S, MIN_PERIOD_S, NexusContracts, NexusTerms, prices_in
from bot.venues.overrides import QUOTING_ADDRESS, FundedSender
from bot.venues.prices import Prices, pinned
from bot.venues.settlement import BPS
from bot.venues.steps import ERC20
from bot.venues.token_checks import TokenChecks

TRADE = "cover"
_NOBODY = "0x" + "00" * 20
_NO_TEXT = b"\0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """A purchase as it can be made now."""

    amount_raw: int
    premium_raw: int
    parts: list[tuple[Offer, int]]
    capacity_raw: int  # that all pools together can still cover so long


class NexusAdapter:
    """One deployment. ``account`` says whose covers are read and who buys; none: quotes only."""

    capabilities = CAPABILITIES["nexus"]

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: NexusContracts,
        account: str | None = None,
        terms: NexusTerms | None = None,
    ) -> None:
        self.terms = terms or NexusTerms()
        self._reader, self._contracts, self._account = reader, contracts, account
        self._reads = NexusReads(reader, contracts, self.terms)
        self._checks, self._funded = TokenChecks(reader), FundedSender(reader)

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def least_gas_ceiling(self) -> int:
        return self.terms.gas.ceiling

    def permissions(self) -> tuple[Permission, ...]:
        """One purchase, owned by the account, at a capped premium. Claims are nobody's here."""
        seller = self._contracts.seller.lower()
        buy = CallRule(
            target=seller,
            function=COVER.function("buyCover").signature,
            guard=Guard.BOUND,
            opens=True,
            recipients=((0, 1),),
            most=(0, 6),
        )
        return ApprovalRule(token=self._contracts.token.lower(), spender=seller, opens=True), buy

    # --- quoting and buying ---------------------------------------------------------------------------

    async def quote(self, view: MarketView, *, protocol: str, amount_usd: float, period_s: int) -> CoverQuote:
        """Return what covering a protocol costs. Raises VenueRejected where it cannot be covered so."""
        block, prices = pinned(view), prices_in(view, terms=self.terms, contracts=self._contracts)
        product_id = self.terms.products.get(protocol)
        if product_id is None:
            raise VenueRejected(
                f"no cover of {protocol!r} is configured; known are {', '.join(sorted(self.terms.products))}"
            )
        product = await self._reads.product(product_id, block)
        buyer = self._account or QUOTING_ADDRESS
        found = await self._priced(product_id, amount_usd, period_s, prices, block, buyer=buyer)
        words = [f"pool {offer.pool_id} at {offer.price / 100:.2f} % a year" for offer, _ in found.parts]
        return CoverQuote(
            product=self.terms.product(product_id, product.name),
            amount_usd=amount_usd,
            period_s=period_s,
            premium_usd=self._usd(found.premium_raw, prices),
            settlement=self._contracts.symbol,
            gas_usd=self.terms.gas.buy * prices.gas_usd,
            valid_until_s=view.now_s + self.terms.quote_ttl_s,
            block_number=block.number,
            capacity_usd=self._usd(found.capacity_raw, prices),
            grace_s=product.grace_s,
            because=f"underwritten by {', '.join(words)}",
        )

    async def plan(self, order: CoverOrder, *, view: MarketView, head: Block) -> ExecutionPlan:
        """Return the purchase within the order's limit, run by eth_call first. Raises VenueRejected."""
        c, account = self._contracts, self._account
        if account is None or not await self._reader.has_code(c.seller, block=head):
            raise VenueRejected(f"no account is configured, or {c.seller} has no code: check the address")
        if order.product.venue != self.name or not order.product.id.isdecimal():
            raise VenueRejected(f"{order.product} is none of Nexus Mutual's; nothing was sent")
        prices = prices_in(view, terms=self.terms, contracts=c)
        product_id = int(order.product.id)
        listed = self.terms.product(product_id, (await self._reads.product(product_id, head)).name)
        if listed != order.product:
            raise VenueRejected(f"the order wants {order.product}, the chain has {listed}; nothing was sent")
        await self._checks.check(c.token, c.symbol, block=head)
        found = await self._priced(product_id, order.amount_usd, order.period_s, prices, head, buyer=account)
        limit_raw = to_fixed_down(order.limit_usd / prices.settlement_usd, decimals=c.decimals)
        if found.premium_raw > limit_raw:
            raise VenueRejected(
                f"the cover costs {self._usd(found.premium_raw, prices):.2f} USD now, the order allows "
                f"{order.limit_usd:.2f}; nothing was sent"
            )
        most_raw = min(self._with_slack(found.premium_raw), limit_raw)
        data = self._call(product_id, found, order.period_s, most_raw, owner=account)
        await self._run(data, account, head)
        return ExecutionPlan(
            steps=(OnchainTx(purpose=TRADE, to=c.seller, data=data, gas_ceiling=self.terms.gas.ceiling),),
            trade=TRADE,
            valid_until_s=order.valid_until_s,
            pays=(
                Payment(
                    token=c.token, symbol=c.symbol, decimals=c.decimals, spender=c.seller, amount_raw=most_raw
                ),
            ),
            most_usd=self._usd(most_raw, prices),
        )

    def fact(
        self, order: CoverOrder, receipts: Mapping[str, Receipt], *, view: MarketView
    ) -> CoverFact | None:
        """Return what was bought, None where nothing was. Raises InvariantError without the cover's token."""
        receipt = receipts.get(TRADE)
        if receipt is None or not receipt.succeeded:
            return None
        own = (self._account or "").lower()
        for event in NFT.logs("Transfer", receipt.logs, address=self._contracts.nft):
            source, to, cover_id = event.values()
            if source == _NOBODY and to == own:
                prices = prices_in(view, terms=self.terms, contracts=self._contracts)
                paid_usd = self._usd(self._paid_raw(receipt, own), prices)
                return CoverFact(cover_id=str(cover_id), premium_usd=paid_usd, receipt=receipt)
        raise InvariantError(
            f"order {order.key}: {receipt.tx_hash} succeeded without a cover for the account"
        )

    # --- what is held, and claims ---------------------------------------------------------------------

    async def held(self, view: MarketView) -> tuple[HeldCover, ...]:
        """Return the account's covers, those included that have ended and can still be claimed on."""
        if self._account is None:
            return ()
        block = pinned(view)
        found = await self._reads.covers(self._account, block)
        return tuple(
            [
                self._held(item, view)
                for item in found
                if block.timestamp_s < item.start_s + item.period_s + item.grace_s
                or item.claim in (ClaimState.OPEN, ClaimState.PAYABLE)
            ]
        )

    async def draft_claim(self, cover: HeldCover, *, view: MarketView, amount_usd: float) -> ClaimDraft:
        """Return a claim that a person may send. Raises VenueRejected where it would be refused as it is."""
        block, prices = pinned(view), prices_in(view, terms=self.terms, contracts=self._contracts)
        item = await self._own(cover, block)
        asked_raw = to_fixed_down(amount_usd / prices.settlement_usd, decimals=self._contracts.decimals)
        self._check_claim(item, asked_raw, amount_usd, block)
        claims = self._contracts.claims
        deposit, member = await self._reader.read(
            [
                CLAIMS.call("CLAIM_DEPOSIT_IN_ETH", claims),
                REGISTRY.call("isMember", self._contracts.registry, self._account),
            ],
            block=block,
        )
        if deposit is None:
            raise VenueRejected(f"{claims} does not say what deposit a claim takes: check the address")
        needs = [
            "proof of the loss, published on IPFS; its hash replaces the zero one of the calldata",
            f"a deposit of {deposit[0] / 1e18:g} ETH, lost if the claim is denied",
        ]
        if member is None or not member[0]:
            needs.insert(0, f"membership of {self._account} in the mutual (KYC): it is no member now")
        return ClaimDraft(
            cover_id=cover.id,
            purpose="submit",
            to=claims,
            data="0x" + CLAIMS.encode("submitClaim", item.id, asked_raw, _NO_TEXT).hex(),
            value_wei=int(deposit[0]),
            amount_usd=amount_usd,
            until_s=cover.claim_until_s,
            needs=tuple(needs),
            because=f"{amount_usd:,.2f} of {cover.amount_usd:,.2f} USD of cover {cover.id}",
        )

    async def draft_payout(self, cover: HeldCover, *, view: MarketView) -> ClaimDraft:
        """Return the taking of an accepted claim's payout. Raises VenueRejected where there is none."""
        block = pinned(view)
        item = await self._own(cover, block)
        if item.claim is not ClaimState.PAYABLE:
            raise VenueRejected(
                f"no payout of cover {cover.id} can be taken: its claim is {item.claim.value}"
            )
        data = CLAIMS.encode("redeemClaimPayout", item.claim_id)
        await self._reader.simulate(
            to=self._contracts.claims, data=data, block=block, sender=self._account or _NOBODY
        )
        prices = prices_in(view, terms=self.terms, contracts=self._contracts)
        return ClaimDraft(
            cover_id=cover.id,
            purpose="redeem",
            to=self._contracts.claims,
            data="0x" + data.hex(),
            value_wei=0,
            amount_usd=self._usd(item.claim_raw, prices),
            until_s=float(item.redeem_until_s),
            needs=("the signature of the account that owns the cover",),
            because=f"claim {item.claim_id} on cover {cover.id} was accepted; its deposit comes back with it",
        )

    # --- parts ----------------------------------------------------------------------------------------

    async def _priced(
        self,
        product_id: int,
        amount_usd: float,
        period_s: int,
        prices: Prices,
        block: Block,
        *,
        buyer: str,
    ) -> _Priced:
        """Return the cheapest way to buy that goes through in an eth_call. Raises VenueRejected."""
        _check_asked(amount_usd, period_s, prices)
        product = await self._reads.product(product_id, block)
        if product.problem:
            raise VenueRejected(f"{product.problem}; nothing was sent")
        amount_raw = to_fixed_up(amount_usd / prices.settlement_usd, decimals=self._contracts.decimals)
        unit_raw = await self._reads.allocation_unit_raw(block)  # what each part is rounded up to
        offers = await self._reads.offers(product, period_s, block)
        capacity_raw = sum(offer.capacity_raw for offer in offers)
        refusal: VenueRejected | None = None
        for parts in allocations(amount_raw, offers):
            premium = 1 + sum(premium_raw(part + unit_raw, offer, period_s=period_s) for offer, part in parts)
            found = _Priced(
                amount_raw=amount_raw, premium_raw=premium, parts=parts, capacity_raw=capacity_raw
            )
            data = self._call(product_id, found, period_s, self._with_slack(premium), owner=buyer)
            try:
                await self._run(data, buyer, block)
            except VenueRejected as error:
                refusal = refusal or error
            else:
                return found
        raise refusal or VenueRejected(
            f"the pools that underwrite {product.name} do not cover {amount_usd:,.0f} USD, at most "
            f"{self._usd(capacity_raw, prices):,.0f}; nothing was sent"
        )

    def _with_slack(self, premium: int) -> int:
        return -(-premium * (BPS + self.terms.premium_slack_bps) // BPS)

    def _call(self, product_id: int, found: _Priced, period_s: int, most_raw: int, *, owner: str) -> bytes:
        asset = self._contracts.asset_id
        order = (
            0, owner, product_id, asset, found.amount_raw, period_s, most_raw, asset, 0, _NOBODY, "",
        )  # fmt: skip
        return COVER.encode("buyCover", order, [(offer.pool_id, part) for offer, part in found.parts])

    async def _run(self, data: bytes, account: str, head: Block) -> None:
        """Run the very purchase as the account, as if funded and approved. Raises VenueRejected."""
        c = self._contracts
        overrides = await self._funded.overrides(token=c.token, owner=account, spender=c.seller, block=head)
        if overrides is not None:
            await self._reader.simulate(
                to=c.seller,
                data=data,
                block=head,
                sender=account,
                overrides=overrides,
                gas=self.terms.gas.ceiling,
            )

    def _paid_raw(self, receipt: Receipt, own: str) -> int:
        """Return what went to the seller, less what it gave back: a batch moves the token elsewhere too."""
        places, paid = {self._contracts.seller.lower(), self._contracts.pool.lower()}, 0
        for event in ERC20.logs("Transfer", receipt.logs, address=self._contracts.token):
            source, to, amount = event.values()
            paid += amount * ((source == own and to in places) - (to == own and source in places))
        return paid

    def _held(self, item: OwnCover, view: MarketView) -> HeldCover:
        c, prices = self._contracts, prices_in(view, terms=self.terms, contracts=self._contracts)
        ours = item.asset_id == c.asset_id
        expires_s = float(item.start_s + item.period_s)
        return HeldCover(
            id=str(item.id),
            product=self.terms.product(item.product_id, item.product_name),
            amount_usd=self._usd(item.amount_raw, prices) if ours else float("nan"),
            settlement=c.symbol if ours else f"asset {item.asset_id}",
            starts_s=float(item.start_s),
            expires_s=expires_s,
            claim_until_s=expires_s + item.grace_s,
            claim=item.claim,
        )

    async def _own(self, cover: HeldCover, block: Block) -> OwnCover:
        for item in await self._reads.covers(self._account or _NOBODY, block):
            if str(item.id) == cover.id:
                return item
        raise VenueRejected(f"cover {cover.id} is not one of {self._account}")

    def _check_claim(self, item: OwnCover, asked_raw: int, amount_usd: float, block: Block) -> None:
        ends_s = item.start_s + item.period_s + item.grace_s
        if item.claim in (ClaimState.OPEN, ClaimState.PAYABLE):
            raise VenueRejected(
                f"claim {item.claim_id} on cover {item.id} is {item.claim.value}: another one takes its end"
            )
        if item.asset_id != self._contracts.asset_id:
            raise VenueRejected(f"cover {item.id} pays asset {item.asset_id}, not {self._contracts.symbol}")
        if not 0 < asked_raw <= item.amount_raw:
            most = from_fixed(item.amount_raw, decimals=self._contracts.decimals)
            raise VenueRejected(f"cover {item.id} pays at most {most:,.2f}, asked are {amount_usd:,.2f} USD")
        if block.timestamp_s <= item.start_s:
            raise VenueRejected(f"cover {item.id} was bought in this very block; a claim takes a later one")
        if block.timestamp_s >= ends_s:
            raise VenueRejected(
                f"cover {item.id} could be claimed on until {ends_s}, it is {block.timestamp_s}"
            )

    def _usd(self, raw: int, prices: Prices) -> float:
        return from_fixed(raw, decimals=self._contracts.decimals) * prices.settlement_usd


def _check_asked(amount_usd: float, period_s: int, prices: Prices) -> None:
    if not MIN_PERIOD_S <= period_s <= MAX_PERIOD_S:
        raise VenueRejected(
            f"a cover runs {MIN_PERIOD_S // DAY_S} to {MAX_PERIOD_S // DAY_S} days, asked are "
            f"{period_s / DAY_S:g}"
        )
    if prices.unknown or not amount_usd > 0.0:
        raise VenueRejected(f"the amount is {amount_usd:g} USD, unknown are: {prices.unknown or 'none'}")
