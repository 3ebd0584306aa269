"""Puts the option venues beside Lyra together, each of its section of the settings."""

from bot.engine.layers import option_types
from bot.engine.policy import Policy
from bot.ports import ChainReader, Proposer, Transactor
from bot.settings.option_venues import HegicSettings, NexusSettings, OpynSettings, PanopticSettings
from bot.venues import hegic, opyn, panoptic, planned_cover
from bot.venues.planned import PlannedVenue
from bot.venues.planned_cover import PlannedCoverVenue


def opyn_venue(
    opyn_settings: OpynSettings,
    reader: ChainReader,
    policy: Policy,
    *,
    custody: Transactor | Proposer | None,
    account: str | None = None,
) -> PlannedVenue:
    """Return the Opyn venue. Without ``custody`` it quotes, and marks what ``account`` holds."""
    return opyn.opyn_venue(
        reader=reader,
        contracts=opyn_settings.contracts,
        custody=custody,
        account=account,
        terms=opyn_settings.terms(option_types(policy)),
    )


def hegic_venue(
    hegic_settings: HegicSettings,
    reader: ChainReader,
    policy: Policy,
    *,
    custody: Transactor | Proposer | None,
    account: str | None = None,
) -> PlannedVenue:
    """Return the Hegic venue. Without ``custody`` it quotes, and marks what ``account`` holds."""
    return hegic.hegic_venue(
        reader=reader,
        contracts=hegic_settings.contracts,
        custody=custody,
        account=account,
        terms=hegic_settings.terms(option_types(policy)),
    )


def panoptic_venue(
    panoptic_settings: PanopticSettings,
    reader: ChainReader,
    policy: Policy,
    *,
    custody: Transactor | Proposer | None,
    account: str | None = None,
) -> PlannedVenue:
    """Return the Panoptic venue. Without ``custody`` it quotes, and marks what ``account`` holds."""
    return panoptic.panoptic_venue(
        reader=reader,
        contracts=panoptic_settings.contracts,
        custody=custody,
        account=account,
        terms=panoptic_settings.terms(option_types(policy)),
    )


def nexus_venue(
    nexus_settings: NexusSettings,
    reader: ChainReader,
    *,
    custody: Transactor | Proposer | None,
    account: str | None = None,
) -> PlannedCoverVenue:
    """Return the mutual's covers. Without ``custody`` it quotes, and reads those of ``account``."""
    return planned_cover.nexus_venue(
        reader=reader,
        contracts=nexus_settings.contracts,
        custody=custody,
        account=account,
        terms=nexus_settings.terms,
    )
