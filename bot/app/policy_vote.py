"""The policy registry of a run: followed from the state that its journal last decided under."""

from bot.app.follow import Listener
from bot.chain.policy_registry import RegistryWatch
from bot.engine.policy import Policy
from bot.engine.policy_vote import refusal
from bot.model.record import StepRecord
from bot.settings import Settings


def registry_watch(
    settings: Settings, policy: Policy, listener: Listener, *, last: StepRecord | None
) -> RegistryWatch | None:
    """Return what follows the configured registry, None where none is. ``last`` is the newest record."""
    if settings.policy_registry is None:
        return None
    address = settings.policy_registry.address
    vote = last.vote if last is not None else None
    return RegistryWatch(
        address=address,
        refusal=lambda found: refusal(policy, found),
        last=vote if vote is not None and vote.registry == address and not refusal(policy, vote) else None,
        on_trouble=listener.on_trouble,
    )
