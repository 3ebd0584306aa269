"""What an operator may do wrong: a dry run that an environment calls live (O4)."""

import asyncio

from commands import Ended

from campaign.case import Outcome, unless
from campaign.rig import Rig

_LIVE_NAMES = ("ALVH_LIVE", "ALVH_RUN__LIVE", "ALVH_MODE", "ALVH_DRY_RUN")


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
    wrong += unless(
        ended.code == 4 or not rig.home.journal("live").exists(), f"{name} made a run that says nothing live"
    )
    for arguments in (("--live", "--dry-run"), ("--live", "--no-live"), ("--live=false",), ("--live", "no")):
        refused = await asyncio.to_thread(rig.home.alvh, "run", "--once", *arguments)
        rig.said += [refused.out, refused.err]
        wrong += unless(refused.code == 4, f"run {' '.join(arguments)} ended with {refused.code}")
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
