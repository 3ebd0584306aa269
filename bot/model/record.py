"""The engine's memory and what one step leaves in the journal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.model.account_order import AccountOutcome
from bot.model.base_layers import Proposal
from bot.model.cover import CoverOutcome
from bot.model.exposure import Exposure
from bot.model.hedge import (
    CondorOrder,
    HedgePlan,
    HeldHedge,
    Instrument,
    Layer,
    LayerTarget,
    LegOutcome,
    Shortfall,
)
from bot.model.perpetual import HeldPerpetual, PerpetualOrder
from bot.model.perpetual_outcome import PerpetualOutcome
from bot.model.policy_vote import PolicyVote
from bot.model.tier import FamilyVote, Reading, RuleFinding, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A higher tier that waits for confirmation (R3)."""

    tier: Tier
    frames: int  # consecutive frames that asked for it, this one included
    since_s: float
    since_block: int = 0  # 0: that frame had no block


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitTaking:
    """How far R28 is with one held leg."""

    whole: float  # contracts, the most that was held since it began; parts are shares of it
    frames: int  # consecutive frames that asked for the next part, this one included; 0 once one was due
    since_s: float  # the first of these
    since_block: int  # 0: that frame had no block
    last_s: float  # when its delta or value was last over its limit
    begun: bool = False  # a part was due: the leg no longer serves its layer


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """What the engine remembers of one hedge group between frames."""

    tier: Tier = Tier.CALM
    last_needed_s: float = -math.inf  # when the present tier was last asked for
    pending: tuple[Pending, ...] = ()  # one per higher tier that is asked for now
    last_step_down_s: float = -math.inf
    voting: Mapping[str, bool] = field(default_factory=dict)  # memory of votes and high scores (consensus.py)
    near_triggered: bool = False  # R12's own trigger, held until the tier closes the layer
    wider_wings: bool = False  # R15: wings stand one listed strike wider
    wide_term: bool = False  # S13 has been over its easing level (R17)
    unwanted_since_s: Mapping[str, float] = field(default_factory=dict)  # held id -> since (R18)
    profits: Mapping[str, ProfitTaking] = field(default_factory=dict)  # held id -> R28
    liquidity: Mapping[str, float] = field(default_factory=dict)  # position -> most seen since one left (R18)
    shrunk: bool = False  # positions left, and their hedges are not gone yet (R18)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """All the engine remembers. A pure function of the journal."""

    groups: Mapping[str, GroupState] = field(default_factory=dict)
    protocol_tiers: Mapping[str, Tier] = field(default_factory=dict)  # protocol, stable or bridge -> its tier
    protocol_needed_s: Mapping[str, float] = field(default_factory=dict)  # when it was last asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A listed option that could have served a layer, per contract, and why it does or does not (R24)."""

    layer: Layer
    instrument: Instrument
    cost_usd: float  # premium, fees and swap of one contract; gas is per order and left out
    gain_usd: float  # mean gain of one contract on the paths at or beyond the value at risk; NaN not computed
    chosen: bool
    because: str

    @property
    def cost_per_gain(self) -> float:
        """Return USD paid for one USD of gain where the group loses most; inf for what never gains."""
        return self.cost_usd / self.gain_usd if self.gain_usd > 0.0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDecision:
    """What was decided for one hedge group, and why."""

    group: str
    tier: Tier
    previous_tier: Tier
    votes: tuple[FamilyVote, ...]
    findings: tuple[RuleFinding, ...]
    targets: tuple[LayerTarget, ...]
    shortfalls: tuple[Shortfall, ...]
    value_usd: float
    var_usd: float
    var_method: str  # "filtered historical simulation" or "EWMA vol x Student-t(4), floored"
    wanted_share: float  # of VaR (R8)
    covered_share: float  # by held and planned hedges
    break_evens_usd: tuple[float, ...]
    because: str  # one sentence a person reads first
    degraded: tuple[str, ...] = ()  # families with too few live signals: shown as GUARDED (data)
    protocol_tier: Tier = Tier.CALM  # the highest among the protocols it depends on; buys no layer
    protocol: str = ""  # which protocol, stable or bridge that is; empty at CALM
    reads: tuple[int, ...] = ()  # places in ``Decision.readings`` of what counts for this group (R1)
    fast_reads: tuple[int, ...] = ()  # of what its fast mean is made of (R1)
    alternatives: tuple[Alternative, ...] = ()  # what each open layer could have bought, best first
    refused_quotes: tuple[str, ...] = ()  # quotes that may not be traded on, with the reason; the first few

    @property
    def shown_tier(self) -> Tier:
        """The higher of market and protocol tier: what a person reads first, with both named."""
        return max(self.tier, self.protocol_tier)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolDecision:
    """The tier of one protocol, stable or bridge (R2, protocol kind), and why."""

    protocol: str
    tier: Tier
    previous_tier: Tier
    groups: tuple[str, ...]  # hedge groups that depend on it
    findings: tuple[RuleFinding, ...]  # a tier in them is the protocol's, not the market's


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A pure function of (policy, state, frame)."""

    now_s: float
    blocks: Mapping[int, int]  # chain id -> number
    policy_hash: str
    readings: tuple[Reading, ...]
    groups: tuple[GroupDecision, ...]
    plan: HedgePlan
    limits: Mapping[str, float] = field(default_factory=dict)  # R9 figures in USD, by name
    holds: tuple[str, ...] = ()
    protocols: tuple[ProtocolDecision, ...] = ()  # by name; those that a source speaks of
    findings: tuple[RuleFinding, ...] = ()  # of no hedge group: health factors (R2), base layers
    proposals: tuple[Proposal, ...] = ()  # what the base layers want done, the most urgent first
    condors: tuple[CondorOrder, ...] = ()  # of R16's overlay; only where a venue quotes bids
    perpetuals: tuple[PerpetualOrder, ...] = ()  # R27; what is reduced first


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One journal row per step. Report, status, explain and restart read this."""

    sequence: int
    mode: str
    decision: Decision
    state: EngineState
    outcomes: tuple[LegOutcome, ...]
    frame_hash: str
    spot_usd: Mapping[str, float]  # underlying -> price
    exposure_value_usd: Mapping[str, float]  # exposure id -> value, hedges left out
    hedge_value_usd: float  # sum of marks of held hedges (liquidation, else model)
    cash_flow_usd: float  # money that hedging brought (+) or took (-) before this step's own legs
    is_heartbeat: bool = False
    indicative: bool = False  # sums of money hold fills on paper at indicative quotes
    vote: PolicyVote | None = None  # under which it was decided; the hash is that of the policy with it
    perpetuals: tuple[PerpetualOutcome, ...] = ()  # what became of orders for perpetuals (R27)
    account_orders: tuple[AccountOutcome, ...] = ()  # on positions and loans (R21, R29)
    covers: tuple[CoverOutcome, ...] = ()  # what became of purchases of cover (R20)
    perpetual_value_usd: float = 0.0  # part of ``hedge_value_usd``: what closing the perpetuals would gain
    # What was protected and what was held before this step's own orders; a heartbeat has none of the three.
    exposures: tuple[Exposure, ...] = ()
    held: tuple[HeldHedge, ...] = ()
    held_perpetuals: tuple[HeldPerpetual, ...] = ()

    @property
    def policy_words(self) -> str:
        """Return the policy's hash as it is shown, and the vote that it was decided under."""
        short = self.decision.policy_hash[:8]
        if self.vote is None:
            return short
        return f"{short}, vote {self.vote.sequence} read at block {self.vote.block_number}"
