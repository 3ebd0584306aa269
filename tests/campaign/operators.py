"""What an operator may do wrong: a dry run that an environment calls live (O4)."""

import asyncio

from commands import Ended

from campaign.case import Outcome, unless
from campaign.rig import Rig

_LIVE_NAMES = ("ALVH_LIVE", "ALVH_RUN__LIVE", "ALVH_MODE", "ALVH_EXECUTION__LIVE", "ALVH_DRY_RUN")


async def dry_run_wins(rig: Rig) -> Outcome:
    """O4: nothing but ``--live`` on the command line makes a run live, and with its opposite it is refused.

    The keystore is away meanwhile: a dry run needs no key (I11).
    """
    keystore = rig.home.folder / "keystore.json"
    kept = keystore.rename(keystore.with_suffix(".away"))
    name = rig.random.choice(_LIVE_NAMES)
    rig.home.env[name] = "live" if name == "ALVH_MODE" else "false" if "DRY" in name else "true"
    await rig.start_bot("run", "--once", "--json")
    ended = await _ended(rig)
    wrong = [*unless(ended.code in (0, 4), f"with {name} a run ended with {ended.code}: {ended.err[-200:]}")]
    wrong += unless(not rig.home.journal("live").exists(), f"{name} made a run live that does not say so")
    wrong += unless((ended.code == 4) == ("__" in name), f"{name}: {ended.code}, {ended.err[-200:]}")
    if ended.code == 0:
        verdicts = await rig.audit(is_at_rest=True)
        wrong += [f"{invariant}: {text}" for invariant, texts in verdicts.items() for text in texts]
    for arguments in (("--live", "--dry-run"), ("--live", "--no-live"), ("--live=false",), ("--live", "no")):
        refused = await asyncio.to_thread(rig.home.alvh, "run", "--once", *arguments)
        rig.said += [refused.out, refused.err]
        is_usage = refused.code == 4 and any(word in refused.err.lower() for word in ("option", "argument"))
        wrong += unless(is_usage, f"run {' '.join(arguments)}: {refused.code}, {refused.err[-200:]}")
    wrong += unless(not rig.pool.seen, "something was sent")
    kept.rename(keystore)
    return Outcome(wrong=tuple(wrong), note=f"{name} of the environment")


async def _ended(rig: Rig) -> Ended:
    """Wait until the bot ends by itself."""
    running = rig.running.pop("bot")
    await rig.until(lambda: not running.is_alive, within_s=120.0)
    ended = await asyncio.to_thread(running.wait)
    rig.said += [ended.out, ended.err]
    return ended
