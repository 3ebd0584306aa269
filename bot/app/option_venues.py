"""Puts the option venues and the mutual together, each of its section of the settings.

Without ``custody`` they quote, and mark what ``account`` holds. Listed is what the policy buys.
"""

from typing import TypedDict

from bot.engine.layers import option_types
from bot.engine.policy import Policy
from bot.model.hedge import Layer
from bot.ports import ChainReader, Proposer, Transactor
from bot.settings import LyraSettings, Settings
from bot.settings.option_venues import HegicSettings, NexusSettings, OpynSettings, PanopticSettings
from bot.venues import hegic, lyra, opyn, panoptic, planned_cover
from bot.venues.lyra_terms import LyraTerms
from bot.venues.planned import PlannedVenue
from bot.venues.planned_cover import PlannedCoverVenue
from bot.venues.settlement import SettlementSwap, SwapLimits

_DELTA_MARGIN = 0.1  # quotes reach a little past the widest delta band, which moves with the market


class Where(TypedDict):
    """The chain that a venue stands on, and who trades there."""

    reader: ChainReader
    custody: Transactor | Proposer | None
    account: str | None


def option_venues(settings: Settings, policy: Policy, where: Where) -> tuple[PlannedVenue, ...]:
    """Return the venues on the home chain whose section is there."""
    slippage_bps = settings.execution.max_swap_slippage_bps
    found = (
        lyra_venue(settings.lyra, policy, where, slippage_bps=slippage_bps) if settings.lyra else None,
        opyn_venue(settings.opyn, policy, where) if settings.opyn else None,
        hegic_venue(settings.hegic, policy, where) if settings.hegic else None,
        panoptic_venue(settings.panoptic, policy, where) if settings.panoptic else None,
    )
    return tuple(item for item in found if item is not None)


def lyra_venue(section: LyraSettings, policy: Policy, where: Where, *, slippage_bps: int) -> PlannedVenue:
    """Return Lyra's, quoted for what the policy's layers could want, not for every strike that is listed."""
    limits = SwapLimits(slippage_bps=slippage_bps)
    terms = LyraTerms(
        underlying=section.underlying,
        option_types=option_types(policy),
        max_abs_delta=max(policy.layers.of(layer).delta[1] for layer in Layer) + _DELTA_MARGIN,
    )
    swap = SettlementSwap(reader=where["reader"], pair=section.pair, limits=limits)
    return lyra.lyra_venue(contracts=section.contracts, swap=swap, terms=terms, **where)


def opyn_venue(section: OpynSettings, policy: Policy, where: Where) -> PlannedVenue:
    terms = section.terms(option_types(policy))
    return opyn.opyn_venue(contracts=section.contracts, terms=terms, **where)


def hegic_venue(section: HegicSettings, policy: Policy, where: Where) -> PlannedVenue:
    terms = section.terms(option_types(policy))
    return hegic.hegic_venue(contracts=section.contracts, terms=terms, **where)


def panoptic_venue(section: PanopticSettings, policy: Policy, where: Where) -> PlannedVenue:
    terms = section.terms(option_types(policy))
    return panoptic.panoptic_venue(contracts=section.contracts, terms=terms, **where)


def nexus_venue(
    section: NexusSettings,
    reader: ChainReader,
    *,
    custody: Transactor | Proposer | None,
    account: str | None = None,
) -> PlannedCoverVenue:
    """Return the mutual's covers."""
    where = Where(reader=reader, custody=custody, account=account)
    return planned_cover.nexus_venue(contracts=section.contracts, terms=section.terms, **where)
