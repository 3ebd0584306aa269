"""Opyn Gamma: European options as ERC-20 tokens, fully collateralised (opynfinance/GammaProtocol).

There is no market of its own: oTokens trade on Uniswap v3, and are redeemed at the Controller after expiry.
"""

from collections.abc import Mapping

from bot.model.execution import Ended, TradeFact
from bot.model.hedge import HedgeLeg
from bot.model.intent import Receipt
from bot.model.market import Block
from bot.model.signing import BOUGHT_TOKEN, ApprovalRule, CallRule, Guard, Permission
from bot.ports import ChainReader, Proposer, Transactor
from bot.venues.capabilities import CAPABILITIES
from bot.venues.option_adapter import OptionAdapter, owner_of, planned_venue, unpaid
from bot.venues.opyn_booking import read_fact
from bot.venues.opyn_marks import OpynMarks
from bot.venues.opyn_plan import ACTION_REDEEM, PUSH, OpynPlanner
from bot.venues.opyn_pools import OpynPools
from bot.venues.opyn_quotes import OpynQuoter
from bot.venues.opyn_reads import CONTROLLER, PRICER, OpynReads
from bot.venues.opyn_terms import OpynContracts, OpynTerms, otoken_of
from bot.venues.overrides import QUOTING_ADDRESS
from bot.venues.planned import PlannedVenue
from bot.venues.prices import Prices
from bot.venues.token_checks import TokenChecks
from bot.venues.v3_swap import Exact, swap_rule


class OpynAdapter(OptionAdapter[OpynTerms]):
    """One Gamma system."""

    capabilities = CAPABILITIES["opyn"]
    goes_on_after = frozenset({PUSH})

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: OpynContracts,
        account: str | None = None,
        terms: OpynTerms | None = None,
    ) -> None:
        terms = terms or OpynTerms()
        self._contracts, self._reads = contracts, OpynReads(reader, contracts)
        self._pools = OpynPools(reader=reader, contracts=contracts, terms=terms)
        quoter = OpynQuoter(reads=self._reads, pools=self._pools, terms=terms)
        planner = OpynPlanner(
            reads=self._reads,
            pools=self._pools,
            checks=TokenChecks(reader),
            terms=terms,
            account=account or QUOTING_ADDRESS,
        )
        super().__init__(
            terms=terms,
            money=terms.money(contracts.symbol),
            account=account,
            quoter=quoter,
            marks=OpynMarks(reads=self._reads, pools=self._pools, quoter=quoter, terms=terms),
            planner=planner,
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Every call that a leg may hold. A sale spends an oToken, which only the chain names: one that was
        bought by such a call, or that the configuration states."""
        c = self._contracts
        router, controller = c.router.lower(), c.controller.lower()
        redeem = CallRule(
            target=controller,
            function=CONTROLLER.function("operate").signature,
            guard=Guard.NO_MONEY,
            opens=False,
            recipients=((0, 0, 2),),
            equals=(((0, 0, 0), ACTION_REDEEM),),
            single=((0,),),
        )
        push = [
            CallRule(
                target=c.pricer.lower(),
                function=PRICER.function("setExpiryPriceInOracle").signature,
                guard=Guard.NO_MONEY,
                opens=False,
            )
            for _ in range(bool(c.pricer))
        ]
        return (
            ApprovalRule(token=c.token.lower(), spender=router, opens=True),
            ApprovalRule(token=BOUGHT_TOKEN, spender=router, opens=False),
            *(ApprovalRule(token=each.lower(), spender=router, opens=False) for each in c.otokens),
            swap_rule(router, Exact.OUT, opens=True, token_in=c.token),
            swap_rule(router, Exact.IN, opens=False, token_out=c.token),
            redeem,
            *push,
        )

    def _fact(self, leg: HedgeLeg, receipts: Mapping[str, Receipt], prices: Prices) -> TradeFact | None:
        return read_fact(
            leg,
            receipts,
            contracts=self._contracts,
            account=self._account or "",
            fee_share=self._pools.fee_share,
            prices=prices,
        )

    async def _ended(self, leg: HedgeLeg, prices: Prices, head: Block) -> Ended | None:  # noqa: ARG002
        """Worthless oTokens are booked at 0 and left where they are: redeeming them would only cost gas."""
        otoken = otoken_of(leg.instrument)
        series = await self._reads.series(otoken, head) if otoken else None
        if series is None or self._account is None or head.timestamp_s < series.expiry_s:
            return None
        (held_raw,) = await self._reads.balances([series.otoken], self._account, head)
        if not held_raw:
            return unpaid(leg, head, "redeemed or moved by hand", by_hand=True)
        system = await self._reads.system(head)
        state = await self._reads.settlement(system, series, head)
        if not state.is_allowed or await self._reads.payout_raw(series, held_raw, head):
            return None
        return unpaid(leg, head, "expired worthless; nothing was sent", by_hand=False)


def opyn_venue(
    *,
    reader: ChainReader,
    contracts: OpynContracts,
    custody: Transactor | Proposer | None = None,
    account: str | None = None,
    terms: OpynTerms | None = None,
) -> PlannedVenue:
    """Return the venue over one Gamma system; without ``custody`` it quotes and marks ``account``."""
    owner = owner_of(custody, account)
    adapter = OpynAdapter(reader=reader, contracts=contracts, account=owner, terms=terms)
    return planned_venue(adapter, reader=reader, custody=custody)
