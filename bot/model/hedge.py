"""Instruments, quotes, held hedges, targets, plans and outcomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import InvariantError
from bot.model.perpetual import Perpetual
from bot.model.units import DAY_S, iso_utc


class Layer(StrEnum):
    NEAR = "NEAR"
    MID = "MID"
    TAIL = "TAIL"


class OptionType(StrEnum):
    PUT = "put"
    CALL = "call"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"
    SETTLE = "settle"  # collect the payoff: after expiry, or before it where the venue never does; only gas


class ExerciseStyle(StrEnum):
    EUROPEAN = "european"
    AMERICAN = "american"  # worth its intrinsic value at any time, by exercise
    PERPETUAL = "perpetual"  # no expiry; ``expiry_s`` is that of the option it behaves like now


class StrikeMode(StrEnum):
    ABSOLUTE = "absolute"
    AT_FILL = "at fill"  # a share of the spot price at execution; ``strike_usd`` is what it would be now
    RANGE = "range"  # a range of prices around ``strike_usd``, which smears the payoff


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Instrument:
    """A listed option. Frozen and ordered, so it can key a table and break ties."""

    venue: str  # "lyra"
    id: str  # the venue's own name of it, e.g. "strike:7"
    underlying: str
    option_type: OptionType
    strike_usd: float
    expiry_s: int
    settlement: str  # settlement asset, "sUSD"
    multiplier: float = 1.0  # units of the underlying per contract
    style: ExerciseStyle = ExerciseStyle.EUROPEAN
    strike_mode: StrikeMode = StrikeMode.ABSOLUTE
    closes_whole: bool = False  # its venue closes a position whole or not at all

    def __hash__(self) -> int:
        return hash((self.venue, self.id, self.strike_usd, self.expiry_s))  # what tells listings apart, fast

    @property
    def label(self) -> str:
        """How a person reads it: "ETH 2,000 put of 2022-05-20"."""
        name = f"{self.underlying} {self.strike_usd:,.0f}"
        if self.style is ExerciseStyle.PERPETUAL:
            return f"{name} perpetual {self.option_type.value}"
        return f"{name} {self.option_type.value} of {iso_utc(self.expiry_s)[:10]}"

    @property
    def is_fixed(self) -> bool:
        """Say whether strike and expiry are what is listed, and not what a purchase would come to now."""
        return self.strike_mode is not StrikeMode.AT_FILL and self.style is not ExerciseStyle.PERPETUAL

    def is_that(self, other: "Instrument") -> bool:
        """Say whether both are the same listing: of one that is not fixed, strike and expiry drift."""
        if self.is_fixed or other.is_fixed:
            return self == other
        mine = (self.venue, self.id, self.underlying, self.option_type, self.settlement)
        return mine == (other.venue, other.id, other.underlying, other.option_type, other.settlement)

    def dte(self, now_s: float) -> float:
        """Days to expiry; negative after it."""
        return (self.expiry_s - now_s) / DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityTerms:
    """What put-call parity (S22) is checked with, beside a quote's own price; per unit of the underlying."""

    mid_usd: float  # middle of what the venue buys and sells the option at, fees left out
    forward_usd: float  # of the underlying at expiry, as the venue has it
    discount: float  # USD now for one of the venue's own dollars at expiry
    forward_cost_usd: float  # of trading that forward


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What an option is made of that is not bought as such (R27): both parts or none.

    A put is a call and a short perpetual, a call is a put and a long one. The instrument that stands for the
    two together names the venues of both.
    """

    option: Instrument
    perpetual: Perpetual
    perpetual_size: float  # units of the underlying for one contract, short < 0 < long
    margin_usd: float  # that the perpetual of one contract ties up


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What it would cost to buy ``size`` contracts now. Money is for the whole size.

    ``premium_usd`` is the sum that leaves the account for the option, venue fees included
    (``fee_usd`` is the part of it that is fee). Gas and the cost of getting the settlement asset come on top.
    """

    instrument: Instrument
    size: float  # contracts
    premium_usd: float
    fee_usd: float
    gas_usd: float
    swap_usd: float  # cost of swapping into the settlement asset and, at the end, back
    iv: float  # mid implied vol the venue marks this strike with, fraction a year
    delta: float  # per contract, signed (put < 0)
    model_usd: float  # model value of the whole size at `iv`, no spread
    min_size: float
    lot: float
    liquidity: float  # most contracts the venue would sell now
    valid_until_s: float
    block_number: int
    indicative: bool = False  # not executable as quoted
    on_paper: bool = False  # indicative, of a venue that trades with nobody here: a dry run may fill at it
    because: str = ""
    gas_most_usd: float = 0.0  # what gas may come to cost at most; 0 where only ``gas_usd`` is known
    exit_gas_usd: float = 0.0  # gas of selling or collecting it later, times the chance that it is worth it
    conversion: Conversion | None = None  # none: the option itself is bought
    bid_usd: float = math.nan  # selling all of ``size`` to open would bring it, net of fees; NaN: no buyer
    parity: ParityTerms | None = None  # None: the venue shows no bid, or prices puts and calls by one vol

    @property
    def gas_reserve_usd(self) -> float:
        """What a budget must keep free for the gas of this order."""
        return max(self.gas_usd, self.gas_most_usd)

    @property
    def order_gas_usd(self) -> float:
        """Gas of this order and, as far as it is likely to be needed, of the one that ends it."""
        return self.gas_usd + self.exit_gas_usd

    @property
    def unit_cost_usd(self) -> float:
        """All-in cost of one contract, gas left out (gas is per order, not per contract)."""
        return (self.premium_usd + self.swap_usd) / self.size

    @property
    def net_unit_usd(self) -> float:
        """All-in cost of one contract at this size, all gas included: what venues are compared by."""
        return self.unit_cost_usd + self.order_gas_usd / self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldHedge:
    """A hedge that is on the books, marked at the frame's block."""

    id: str  # the venue's position id
    instrument: Instrument
    layer: Layer
    size: float
    cost_usd: float  # all-in at purchase
    opened_at_s: float
    iv: float
    model_usd: float  # value of the whole size at iv, no spread
    liquidation_usd: float  # what a sale now would bring net; NaN when it cannot be quoted
    settleable: bool = False  # expired and its settlement price is known
    group: str = ""  # hedge group it was bought for; empty: any group with its underlying
    conversion: Conversion | None = None  # what stands for it (R27); none: the option itself


class SpendKind(StrEnum):
    PREMIUM = "premium"  # premium, fees, swap cost and gas of a purchase
    RESERVED = "reserved"  # an open intent that may still spend
    PROCEEDS = "proceeds"  # negative
    SET_ASIDE = "set_aside"  # part of a profit that goes to RESERVE (R28): positive, and nobody is paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """One entry of the premium ledger that R9 budgets are counted on."""

    at_s: float
    usd: float  # positive: money out
    kind: SpendKind
    leg_key: str
    layer: Layer
    group: str = ""  # hedge group it was spent for


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Protection that is wanted and not held."""

    layer: Layer
    missing: float  # fraction of the layer's target gain that is missing, [0, 1]
    missing_contracts: float
    reason: str
    cap: str = ""  # name of the cap that bound, if one did
    frees_at_s: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTarget:
    """What one layer should hold and does."""

    layer: Layer
    open: bool
    weight: float  # share of option notional or of premium (R7), fraction
    instrument: Instrument | None
    wanted_contracts: float
    held_contracts: float
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeLeg:
    """One order the planner wants done. Positive size; ``side`` carries the direction."""

    key: str  # deterministic: plan key and position in it
    group: str
    layer: Layer
    side: Side
    instrument: Instrument
    size: float
    limit_usd: float  # BUY: most premium to pay; SELL: least proceeds to take; SETTLE: 0
    expected_usd: float  # premium or proceeds at the quote
    valid_until_s: float
    reserve_usd: float = 0.0  # BUY: most that it may take from a budget: the limit, swap and gas
    position_id: str = ""  # SELL and SETTLE: which held hedge
    only_after: str = ""  # key of a leg of the same plan without whose fill this one is not executed
    because: str = ""
    indicative: bool = False  # BUY: priced at an indicative quote, to be filled on paper only
    set_aside: float = 0.0  # SELL: fraction of its profit that goes to RESERVE (R28)
    conversion: Conversion | None = None  # BUY: what is traded in place of the instrument itself (R27)

    def __post_init__(self) -> None:
        if not 0.0 < self.size < math.inf:  # also rejects NaN
            raise InvariantError(f"leg {self.key}: size must be finite and > 0, was {self.size}")
        if not 0.0 <= self.limit_usd < math.inf:
            raise InvariantError(f"leg {self.key}: limit_usd must be finite and >= 0, was {self.limit_usd}")
        if not 0.0 <= self.set_aside <= 1.0:
            raise InvariantError(f"leg {self.key}: set_aside must lie in [0, 1], was {self.set_aside}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CondorLeg:
    """One option of a sold condor."""

    instrument: Instrument
    size: float  # contracts; positive bought, negative sold
    iv: float  # mid implied vol, fraction a year; NaN unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCondor:
    """An iron condor that was sold (R16), open as one position."""

    id: str
    group: str
    legs: tuple[CondorLeg, ...]
    credit_usd: float  # received when it was sold, net of all costs
    opened_at_s: float
    close_usd: float  # all-in cost of closing it now, >= 0; NaN when it cannot be quoted

    @property
    def expiry_s(self) -> int:
        return min(leg.instrument.expiry_s for leg in self.legs)

    @property
    def worst_loss_usd(self) -> float:
        """Most that can be lost at expiry, credit deducted, >= 0; inf where a sold call stands uncovered."""
        return worst_loss_usd(self.legs, credit_usd=self.credit_usd)


class CondorAction(StrEnum):
    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class CondorOrder:
    """One order for all legs of a condor together, or none of them: it never stands naked."""

    key: str
    group: str
    action: CondorAction
    legs: tuple[CondorLeg, ...]  # as they are, or will be, held
    limit_usd: float  # OPEN: least net credit to take; CLOSE: most to pay
    expected_usd: float
    worst_loss_usd: float  # of the position, at expiry
    valid_until_s: float
    position_id: str = ""  # CLOSE
    because: str = ""


def worst_loss_usd(legs: Sequence[CondorLeg], *, credit_usd: float) -> float:
    """Return the most that signed option legs of one expiry lose there, less the credit; at least 0.

    The payoff is linear between strikes, so it is lowest at 0, at a strike or, falling for ever, nowhere.
    """
    slope = sum(
        leg.size * leg.instrument.multiplier for leg in legs if leg.instrument.option_type is OptionType.CALL
    )
    if slope < -1e-9 * sum(abs(leg.size * leg.instrument.multiplier) for leg in legs):
        return math.inf
    spots = (0.0, *(leg.instrument.strike_usd for leg in legs))
    return max(0.0, -min(_payoff(legs, spot) for spot in spots) - credit_usd)


def _payoff(legs: Sequence[CondorLeg], spot_usd: float) -> float:
    total = 0.0
    for leg in legs:
        sign = -1.0 if leg.instrument.option_type is OptionType.PUT else 1.0
        inner = max(0.0, sign * (spot_usd - leg.instrument.strike_usd))
        total += leg.size * leg.instrument.multiplier * inner
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgePlan:
    """Legs in the order they are to be executed."""

    key: str
    created_at_s: float
    legs: tuple[HedgeLeg, ...] = ()


class LegStatus(StrEnum):
    FILLED = "filled"
    PARTIAL = "partial"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # blocks new legs until reconciled
    PROPOSED = "proposed"  # awaits signatures of a Safe's owners: reserves budget, blocks its layer, expires
    WAITING = "waiting"  # a part is done and the venue's next step is not possible yet


OPEN_STATUSES = frozenset({LegStatus.UNKNOWN, LegStatus.PROPOSED, LegStatus.WAITING})


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOutcome:
    """What became of one leg. Money is USD; premium and proceeds are signed by ``leg.side``."""

    leg: HedgeLeg
    status: LegStatus
    at_s: float
    filled_size: float = 0.0
    premium_usd: float = 0.0  # BUY: paid for the option, fees included; SELL/SETTLE: received
    fee_usd: float = 0.0
    swap_usd: float = 0.0  # slippage and fees of the settlement-asset swap
    gas_usd: float = 0.0
    position_id: str = ""
    tx_hash: str = ""
    block_number: int = 0
    because: str = ""
    reconciled: bool = False  # found out after the fact: the leg was not executed to this end in one go
    indicative: bool = False  # filled on paper, at what a venue shows and nobody here could trade on
    perpetual_usd: float = 0.0  # mean price of the perpetual of a pair (R27), 0 where none was traded
