"""What ``alvh doctor`` says of the policy: whether a bot may run it, and whether its owners signed it."""

import time

from bot.app.checks import Check, checked, failed, ok, skipped
from bot.app.policy_signing import read_signatures, recorded_sequence, signatures_path, verify
from bot.errors import ConfigError, NotFoundError, one_line
from bot.settings import Settings, load_policy, read_source

_MEND_POLICY = "policy.file or policy.preset; see docs/method.md"
_SIGNATURE = "policy signature"


def check_policy(settings: Settings) -> Check:
    try:
        found = load_policy(settings.policy)
    except ConfigError as error:
        return failed("policy", one_line(str(error)), _MEND_POLICY)
    return ok("policy", f"{settings.policy.file or settings.policy.preset}, {found.hash[:12]}")


async def check_signature(settings: Settings) -> Check:
    """Say whether the policy that is configured is in force by its owners' word (R22)."""
    if not settings.policy.owners:
        return skipped(_SIGNATURE, "policy.owners names nobody: whoever writes the file decides")
    named = settings.policy.file or settings.policy.preset
    return await checked(_SIGNATURE, _verified(settings), mend=f"alvh policy sign {named}")


async def _verified(settings: Settings) -> Check:
    named = settings.policy.file or settings.policy.preset
    digest = load_policy(settings.policy).hash
    try:
        signatures = read_signatures(signatures_path(read_source(named)))
    except NotFoundError as error:
        return failed(_SIGNATURE, one_line(str(error)), f"alvh policy sign {named}")
    done = await verify(
        signatures,
        policy_hash=digest,
        owners=settings.policy.owners,
        threshold=settings.policy.threshold,
        now_s=time.time(),
        least_sequence=recorded_sequence(settings.state_dir, signatures.grant.account),
        settings=settings,
    )
    if done.is_valid:
        return ok(_SIGNATURE, f"in force, sequence number {done.grant.sequence}")
    count = f"fewer than {settings.policy.threshold} of {len(settings.policy.owners)} owners have signed"
    why = "; ".join(done.refusals) or count
    return failed(_SIGNATURE, one_line(why), f"alvh policy verify {named} says who is missing")
