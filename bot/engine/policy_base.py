"""The numbers of the base layers R19-R21 and of exit R29: sections of ``Policy``, each key bounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from bot.engine.policy_fields import (
    choice,
    duration,
    number,
    off_or,
    percent,
    refuse,
    section,
    whole,
)
from bot.engine.policy_tiers import Labels, LabelsReader
from bot.model.units import DAY_S

Shares: TypeAlias = tuple[tuple[str, float], ...]  # (name, fraction), sorted

ASK = "ask"
WITHDRAW_WITHOUT_ASKING = "withdraw without asking"
PAY_WITHOUT_ASKING = "pay without asking"


@dataclass(frozen=True, slots=True)
class SharesReader:
    """A table of percentages by name."""

    allowed: str = 'a table of percentages such as lending = "20 %", each from 0 % to 100 %'
    bounds: str = "any names = 0 .. 100 %"

    def __call__(self, value: object, name: str) -> Shares:
        if not isinstance(value, Mapping):
            raise refuse(name, value, self.allowed)
        return tuple(sorted((key, percent(0, 100)(part, f"{name}.{key}")) for key, part in value.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcentrationLimits:
    """None: no limit."""

    share: Annotated[float | None, off_or(percent(1, 100))]
    hhi: Annotated[float | None, off_or(number(0.01, 1.0))]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversificationPolicy:
    """R19."""

    protocol: Annotated[ConcentrationLimits, section(ConcentrationLimits)]
    chain: Annotated[ConcentrationLimits, section(ConcentrationLimits)]
    governance: Annotated[ConcentrationLimits, section(ConcentrationLimits)]
    stable: Annotated[ConcentrationLimits, section(ConcentrationLimits)]
    governance_types: Annotated[Labels, LabelsReader()]  # type -> protocols

    def __post_init__(self) -> None:
        _once("diversification.governance_types", self.governance_types)

    def governance_of(self, protocol: str) -> str:
        """Return how a protocol is governed; empty when the policy does not say."""
        return _listed_under(self.governance_types, protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class InsurancePolicy:
    """R20."""

    renew_before: Annotated[float, duration(DAY_S, 90 * DAY_S)]  # seconds before expiry
    buy_under: Annotated[float, percent(1, 100)]  # of the wanted cover
    shares: Annotated[Shares, SharesReader()]  # protocol class -> share of exposure that is covered
    classes: Annotated[Labels, LabelsReader()]  # protocol class -> protocols

    def __post_init__(self) -> None:
        _once("insurance.classes", self.classes)
        stated = {name for name, _ in self.shares}
        for name, _ in self.classes:
            if name not in stated:
                raise refuse(f"insurance.shares.{name}", "", "stated: insurance.classes names it")

    def share_of(self, protocol: str) -> tuple[str, float | None]:
        """Return a protocol's class and the share of exposure to cover; ("", None) when it has no class."""
        name = _listed_under(self.classes, protocol)
        return name, dict(self.shares).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservePolicy:
    """R21."""

    share: Annotated[float, percent(0, 100)]  # of exposure
    refill_under: Annotated[float, percent(1, 100)]  # of that target
    min_stables: Annotated[int, whole(1, 10)]
    min_part: Annotated[float, percent(1, 50)]  # of all stables: what a stable must be to count as one
    real_asset_haircut: Annotated[float, percent(0, 100)]
    hf_target: Annotated[float, number(1.01, 20.0)]  # health factor after a top-up or repayment
    rescue: Annotated[str, choice("repay", "top up")]
    consent: Annotated[str, choice(ASK, PAY_WITHOUT_ASKING)]

    @property
    def without_asking(self) -> bool:
        return self.consent == PAY_WITHOUT_ASKING

    def __post_init__(self) -> None:
        if self.min_part * self.min_stables > 1.0:
            most = f"at most 1 / reserve.min_stables ({1.0 / self.min_stables:.0%})"
            raise refuse("reserve.min_part", f"{self.min_part:.0%}", most)

    def check(self, *, hf_min: float) -> None:
        """Refuse a target that R2's alarm would ring at again."""
        if not self.hf_target > hf_min:
            raise refuse("reserve.hf_target", self.hf_target, f"over hard_triggers.hf_min ({hf_min:g})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPolicy:
    """R29."""

    part: Annotated[float, percent(1, 100)]  # of a position, on protocol tier CRISIS
    market_part: Annotated[float | None, off_or(percent(1, 100))]  # on market tier CRISIS; None: no proposal
    consent: Annotated[str, choice(ASK, WITHDRAW_WITHOUT_ASKING)]

    @property
    def without_asking(self) -> bool:
        return self.consent == WITHDRAW_WITHOUT_ASKING


def _once(name: str, labels: Labels) -> None:
    seen: dict[str, str] = {}
    for kind, protocols in labels:
        for protocol in protocols:
            if seen.setdefault(protocol, kind) != kind:
                raise refuse(f"{name}.{kind}", protocol, f"listed once ({seen[protocol]} has it too)")


def _listed_under(labels: Labels, protocol: str) -> str:
    return next((kind for kind, protocols in labels if protocol in protocols), "")
