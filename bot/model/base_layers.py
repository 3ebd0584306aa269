"""The base layers' values: what is held in reserve and insured, what is owed, and what is proposed."""

import math
from dataclasses import dataclass
from enum import StrEnum


class BaseLayer(StrEnum):
    """Which base layer a proposal belongs to; EXIT is R29."""

    DIVERSIFICATION = "DIVERSIFICATION"
    INSURANCE = "INSURANCE"
    RESERVE = "RESERVE"
    EXIT = "EXIT"


class Action(StrEnum):
    """What a proposal asks for."""

    MOVE = "move"  # between protocols, chains, governance types or stables
    BUY_COVER = "buy cover"
    RENEW_COVER = "renew cover"
    ADD = "add"  # to RESERVE
    SPLIT = "split"  # RESERVE over more stables
    SPEND = "spend"  # RESERVE may be deployed
    TOP_UP = "top up"  # the collateral of a loan
    REPAY = "repay"  # a part of a loan
    WITHDRAW = "withdraw"  # a part of a position, or all of it


class Needs(StrEnum):
    """Who must act on a proposal."""

    CONFIRMATION = "a person confirms, or a Safe signs"
    NOBODY = "nobody: the policy lets the executor act"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveHolding:
    """Money that is kept ready (R21): how many units, stated or watched.

    ``watched`` is the subject of a TOKEN_UNITS series, "<holder>/<token>", in place of ``units``.
    """

    asset: str  # "USDC"; "USTB"
    units: float = math.nan  # NaN: watched
    watched: str = ""
    is_real_asset: bool = False  # a tokenised real asset: counted at a haircut, not spent at once
    price_usd: float = math.nan  # of a unit, where no source has one; a stable then counts at par


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Protocol cover that is held (R20). It pays protocol events only."""

    id: str
    protocol: str
    amount_usd: float  # most that it pays
    expires_s: float
    starts_s: float = -math.inf
    venue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """What a health factor alone does not tell of a lending position (R21).

    ``watched`` is the subject of a TOKEN_UNITS series, "<holder>/<debt token>", in place of ``debt_units``.
    """

    position: str  # subject of its HEALTH_FACTOR
    debt_asset: str
    debt_units: float = math.nan  # NaN: watched
    watched: str = ""
    top_up_asset: str = ""  # what its collateral would be topped up with
    top_up_threshold: float = math.nan  # liquidation threshold of that asset, fraction; NaN: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseHoldings:
    """What a user states of the base layers. An empty part is not configured: absent, not zero."""

    reserves: tuple[ReserveHolding, ...] = ()
    covers: tuple[Cover, ...] = ()
    loans: tuple[Loan, ...] = ()


NOTHING_STATED = BaseHoldings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    value_usd: float
    liquidation_threshold: float  # fraction of the value


@dataclass(frozen=True, slots=True, kw_only=True)
class LendingPosition:
    """Debt and what backs it, both in USD, or in any one unit: in debts, ``debt_usd`` is 1.

    Health is that of Aave v3 (GenericLogic): the sum of collateral x liquidation threshold over debt; under
    1 it is liquidated.
    """

    backing_usd: float  # collateral x its liquidation threshold, summed
    debt_usd: float

    @classmethod
    def of(cls, collateral: tuple[Collateral, ...], *, debt_usd: float) -> "LendingPosition":
        backing_usd = sum(item.value_usd * item.liquidation_threshold for item in collateral)
        return cls(backing_usd=backing_usd, debt_usd=debt_usd)

    @classmethod
    def at_health(cls, health_factor: float, *, debt_usd: float) -> "LendingPosition":
        return cls(backing_usd=health_factor * debt_usd, debt_usd=debt_usd)

    @property
    def health_factor(self) -> float:
        """Infinite without debt."""
        return self.backing_usd / self.debt_usd if self.debt_usd > 0.0 else math.inf

    def topped_up(self, usd: float, *, threshold: float) -> "LendingPosition":
        """Return the position with so much more collateral of one liquidation threshold."""
        return LendingPosition(backing_usd=self.backing_usd + usd * threshold, debt_usd=self.debt_usd)

    def repaid(self, usd: float) -> "LendingPosition":
        """Return the position with so much less debt, from outside money; never under 0."""
        return LendingPosition(backing_usd=self.backing_usd, debt_usd=max(0.0, self.debt_usd - usd))

    def top_up_to(self, target: float, *, threshold: float) -> float:
        """Return the least collateral that lifts health to ``target``; NaN where the threshold is unknown."""
        if not threshold > 0.0:
            return math.nan
        return max(0.0, target * self.debt_usd - self.backing_usd) / threshold

    def repay_to(self, target: float) -> float:
        """Return the least repayment that lifts health to ``target``, at most the debt."""
        return max(0.0, self.debt_usd - self.backing_usd / target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Money from one place to another."""

    source: str
    target: str
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Concentration:
    """How exposure is spread over one thing that it depends on (R19). Fractions of all exposure."""

    dimension: str  # "protocol", "chain", "governance type", "stable"
    shares: tuple[tuple[str, float], ...]  # name and share, largest first
    hhi: float  # Herfindahl-Hirschman index in [1/n, 1]; NaN: unknown
    share_limit: float  # infinite: none
    hhi_limit: float
    unknown: str = ""  # why shares or HHI are not known

    @property
    def largest(self) -> tuple[str, float]:
        return self.shares[0] if self.shares else ("", math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveState:
    """What RESERVE has and may do (R21). Money in USD."""

    configured: bool
    stables_usd: tuple[tuple[str, float], ...]  # by stable, each at most at par; only known ones
    real_assets_usd: float  # after the haircut
    target_usd: float  # NaN: the exposure is unknown
    unknown: tuple[str, ...]  # holdings whose worth is not known, and why
    released: str = ""  # why it may be spent now; empty: it may not, but for a health factor
    live_usd: tuple[tuple[str, float], ...] = ()  # by stable, the part of it that was read just now

    @property
    def spendable_usd(self) -> float:
        """Stables alone: a real asset is sold or redeemed first."""
        return sum(usd for _, usd in self.stables_usd)

    @property
    def counted_usd(self) -> float:
        return self.spendable_usd + self.real_assets_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Something that the base layers want done and the engine does not do by itself."""

    rule: str  # "R20"
    layer: BaseLayer
    action: Action
    subject: str  # protocol, position, cover or "RESERVE"
    amount_usd: float  # NaN: unknown, and ``because`` says what is known
    because: str
    needs: Needs = Needs.CONFIRMATION
    part: float = math.nan  # of the debt (repay), or of the position (withdraw), fraction
    from_reserve_usd: float = 0.0  # part of the amount that RESERVE pays
    health_after: float = math.nan  # of a loan, once the whole amount is paid
    health_after_reserve: float = math.nan  # once RESERVE's part alone is paid
    moves: tuple[Move, ...] = ()
    due_s: float = math.nan  # act before it
    follows: str = ""  # what comes after it has been done

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same proposal in the next frame, whatever its figures."""
        return self.rule, self.action.value, self.subject
