"""Small values that pipeline tests share."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.errors import NotFoundError, OutcomeUnknown
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.cover import CoverOrder, CoverOutcome
from bot.model.exposure import Exposure, ExposureKind, LpShape
from bot.model.hedge import (
    HedgeLeg,
    HedgePlan,
    Instrument,
    Layer,
    LegOutcome,
    LegStatus,
    OptionType,
    Quote,
    Side,
)
from bot.model.intent import IntentEvent
from bot.model.market import Block, Metric, Observation, columns_from
from bot.model.perpetual import PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.record import Decision, EngineState, GroupDecision, StepRecord
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.pipeline.loop import Moment
from bot.ports import MarketView, VenuePosition

START_S = 1_651_708_800.0  # 2022-05-05T00:00:00Z

PUT = Instrument(
    venue="fake",
    id="strike:1",
    underlying="ETH",
    option_type=OptionType.PUT,
    strike_usd=2_000.0,
    expiry_s=int(START_S) + 30 * DAY_S,
    settlement="sUSD",
)


def leg(number: int = 1, *, side: Side = Side.BUY, size: float = 2.0, position_id: str = "") -> HedgeLeg:
    return HedgeLeg(
        key=f"plan-{number}",
        group="ETH/USDC",
        layer=Layer.MID,
        side=side,
        instrument=PUT,
        size=size,
        limit_usd=110.0 if side is Side.BUY else 0.0,
        expected_usd=100.0,
        valid_until_s=START_S + 600.0,
        position_id=position_id,
    )


def filled(order: HedgeLeg, *, premium_usd: float = 100.0, position_id: str = "p1") -> LegOutcome:
    return LegOutcome(
        leg=order,
        status=LegStatus.FILLED,
        at_s=START_S,
        filled_size=order.size,
        premium_usd=premium_usd,
        fee_usd=5.0,
        swap_usd=1.0,
        gas_usd=2.0,
        position_id=position_id,
    )


def position(size: float = 2.0, position_id: str = "p1") -> VenuePosition:
    return VenuePosition(
        id=position_id, instrument=PUT, size=size, iv=0.8, model_usd=90.0, liquidation_usd=80.0
    )


def block(number: int, at_s: float) -> Block:
    return Block(
        chain_id=31337,
        number=number,
        hash=f"0x{number:064x}",
        parent_hash=f"0x{number - 1:064x}",
        timestamp_s=int(at_s),
    )


EXPOSURE = Exposure(
    id="v2:ETH/USDC",
    kind=ExposureKind.UNISWAP_V2,
    protocol="uniswap-v2",
    chain_id=31337,
    pool="v2:ETH/USDC",
    underlying="ETH",
    stable="USDC",
    shape=LpShape(liquidity=1_000.0),
    spot_usd=2_500.0,
    value_usd=100_000.0,
)


def price(at_s: float, value: float) -> Observation:
    return Observation(
        metric=Metric.PRICE_USD,
        subject="ETH",
        source="chainlink:ETH/USD",
        value=value,
        observed_at_s=at_s,
        read_at_s=at_s,
    )


def moment(number: int) -> Moment:
    now_s = START_S + 3_600.0 * number
    return Moment(
        now_s=now_s,
        blocks={31337: block(number, now_s)},
        columns=columns_from([price(now_s, 2_500.0 - number)]),
        exposures=(EXPOSURE,),
    )


def decision(now_s: float, legs: tuple[HedgeLeg, ...] = (), tier: Tier = Tier.CALM) -> Decision:
    group = GroupDecision(
        group="ETH/USDC",
        tier=tier,
        previous_tier=Tier.CALM,
        votes=(),
        findings=(),
        targets=(),
        shortfalls=(),
        value_usd=100_000.0,
        var_usd=10_000.0,
        var_method="test",
        wanted_share=0.05,
        covered_share=0.05,
        break_evens_usd=(),
        because="test",
    )
    return Decision(
        now_s=now_s,
        blocks={31337: 1},
        policy_hash="policy",
        readings=(),
        groups=(group,),
        plan=HedgePlan(key="plan", created_at_s=now_s, legs=legs),
    )


def record_of(
    *, outcomes: tuple[LegOutcome, ...] = (), holds: tuple[str, ...] = (), **group: object
) -> StepRecord:
    """Return a record whose one group has the fields given."""
    made = decision(START_S)
    changed = replace(made, holds=holds, groups=(replace(made.groups[0], **group),))
    return StepRecord(
        sequence=1,
        mode="test",
        decision=changed,
        state=EngineState(),
        outcomes=outcomes,
        frame_hash="f",
        spot_usd={"ETH": 2_500.0},
        exposure_value_usd={},
        hedge_value_usd=0.0,
        cash_flow_usd=0.0,
    )


@dataclass
class ListJournal:
    """The Journal port on lists, strict about what may follow what."""

    opened: dict[str, HedgeLeg] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    closed: list[LegOutcome] = field(default_factory=list)
    perpetuals: dict[str, PerpetualOrder] = field(default_factory=dict)  # open ones
    traded: list[PerpetualOutcome] = field(default_factory=list)
    account_orders: dict[str, AccountOrder] = field(default_factory=dict)  # open ones
    moved: list[AccountOutcome] = field(default_factory=list)
    covers: dict[str, CoverOrder] = field(default_factory=dict)  # open ones
    covered: list[CoverOutcome] = field(default_factory=list)
    events: list[IntentEvent] = field(default_factory=list)
    records: list[StepRecord] = field(default_factory=list)

    def open_leg(self, leg: HedgeLeg, *, at_s: float) -> None:
        if leg.key in self.known:
            raise NotFoundError(f"leg {leg.key} is known already")
        self.known.add(leg.key)
        self.opened[leg.key] = leg

    def close_leg(self, outcome: LegOutcome) -> None:
        del self.opened[outcome.leg.key]
        self.closed.append(outcome)

    def open_legs(self) -> tuple[HedgeLeg, ...]:
        return tuple(self.opened.values())

    def outcomes(self) -> tuple[LegOutcome, ...]:
        return tuple(self.closed)

    def open_perpetual(self, order: PerpetualOrder, *, at_s: float) -> None:
        if order.key in self.known:
            raise NotFoundError(f"order {order.key} is known already")
        self.known.add(order.key)
        self.perpetuals[order.key] = order

    def close_perpetual(self, outcome: PerpetualOutcome) -> None:
        del self.perpetuals[outcome.order.key]
        self.traded.append(outcome)

    def open_perpetuals(self) -> tuple[PerpetualOrder, ...]:
        return tuple(self.perpetuals.values())

    def perpetual_outcomes(self) -> tuple[PerpetualOutcome, ...]:
        return tuple(self.traded)

    def open_account_order(self, order: AccountOrder, *, at_s: float) -> None:
        if order.key in self.known:
            raise NotFoundError(f"order {order.key} is known already")
        self.known.add(order.key)
        self.account_orders[order.key] = order

    def close_account_order(self, outcome: AccountOutcome) -> None:
        del self.account_orders[outcome.order.key]
        self.moved.append(outcome)

    def open_account_orders(self) -> tuple[AccountOrder, ...]:
        return tuple(self.account_orders.values())

    def account_outcomes(self) -> tuple[AccountOutcome, ...]:
        return tuple(self.moved)

    def open_cover(self, order: CoverOrder, *, at_s: float) -> None:
        if order.key in self.known:
            raise NotFoundError(f"order {order.key} is known already")
        self.known.add(order.key)
        self.covers[order.key] = order

    def close_cover(self, outcome: CoverOutcome) -> None:
        del self.covers[outcome.order.key]
        self.covered.append(outcome)

    def open_covers(self) -> tuple[CoverOrder, ...]:
        return tuple(self.covers.values())

    def cover_outcomes(self) -> tuple[CoverOutcome, ...]:
        return tuple(self.covered)

    def append_intent(self, event: IntentEvent) -> None:
        self.events.append(event)

    def intents(self, leg_key: str | None = None) -> tuple[IntentEvent, ...]:
        return tuple(e for e in self.events if leg_key in (None, e.leg_key))

    def append_step(self, record: StepRecord) -> None:
        self.records.append(record)

    def last_step(self) -> StepRecord | None:
        return self.records[-1] if self.records else None

    def steps(self, *, since_s: float = 0.0):
        return iter([r for r in self.records if r.decision.now_s >= since_s])


@dataclass
class FakeVenue:
    """The Venue port: fills what it is told to, and remembers what it was asked."""

    positions: tuple[VenuePosition, ...] = ()
    fail_execute: Exception | None = None
    fail_held: Exception | None = None
    truth: dict[str, LegOutcome] = field(default_factory=dict)  # what reconcile finds on the chain
    answers: dict[str, LegOutcome] = field(default_factory=dict)  # what execute says in place of a fill
    asked: list[str] = field(default_factory=list)
    name: str = "fake"

    async def quotes(self, view: MarketView, *, underlying: str, size: float) -> tuple[Quote, ...]:
        self.asked.append(f"quotes {underlying} {size:.3f}")
        return ()

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:
        if self.fail_held:
            raise self.fail_held
        return self.positions

    async def execute(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        self.asked.append(f"execute {leg.key}")
        if self.fail_execute:
            raise self.fail_execute
        return self.answers.get(leg.key) or filled(leg)

    async def reconcile(self, leg: HedgeLeg, *, view: MarketView) -> LegOutcome:
        self.asked.append(f"reconcile {leg.key}")
        if leg.key not in self.truth:
            raise OutcomeUnknown("leg", leg.key)
        return self.truth[leg.key]


def decide_once(plans: Mapping[float, tuple[HedgeLeg, ...]], seen: list):
    """Return a decide function that trades the given legs at the given times and keeps the frames."""

    def decide(policy, state, frame):
        seen.append(frame)
        made = decision(frame.now_s, plans.get(frame.now_s, ()))
        return EngineState(), replace(made, holds=frame.holds)

    return decide
