"""Nonce drift (goal G4, REL-E8): the key was used outside of the bot, and nonces after that by nobody.

The pattern is OpenZeppelin's: three below, four above. Three transactions of another program are on the
chain, the journal knows none of them, and the next four nonces are empty. A person has said so
(``accept_nonce``, ``fill_nonces``), and the next order must fill the gap and go on: within 30 s or 10 blocks.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import CommandServer

from bot.devnet.node import start_devnet
from bot.settings import cache_dir
from campaign.case import Lab, Outcome, rigged, unless
from campaign.parts import Options
from campaign.purchase import bought, offered, same_bytes
from campaign.rig import Rig
from campaign.spread import spread

BELOW, ABOVE = 3, 4
WITHIN_S, WITHIN_BLOCKS = 30.0, 10
CASES = 50


async def heal(rig: Rig) -> Outcome:
    """Drift, let the bot order, and say in how many blocks it came to its own next nonce."""
    nonce = await rig.nonce()
    for number in range(BELOW):
        await rig.send_as_user(nonce + number)
    after = nonce + BELOW + ABOVE
    text = f"[execution]\naccept_nonce = {after}\nfill_nonces = true\n\n[policy]"
    rig.home.change(r"\[policy\]", text)
    await rig.warm(polls=1 + rig.random.randrange(3))
    rig.resume()
    start_s, first = time.monotonic(), await rig.head()
    await rig.mine()
    await offered(rig, after, within_s=WITHIN_S)
    took_s, blocks = time.monotonic() - start_s, await rig.head() - first
    filled = [item for item in rig.pool.seen if item.nonce < after]
    own = rig.at.user.lower()
    return Outcome(
        wrong=(
            *unless(
                took_s <= WITHIN_S or blocks <= WITHIN_BLOCKS, f"healed in {took_s:.0f} s, {blocks} blocks"
            ),
            *unless(all(item.to.lower() == own for item in filled), "a gap was filled with something else"),
            *unless({item.nonce for item in filled} == set(range(nonce + BELOW, after)), "gaps are left"),
            *await bought(rig),
            *same_bytes(rig, *range(nonce + BELOW, after + 5)),
        ),
        note=str(blocks),
    )


def run(options: Options) -> dict[str, Any]:
    """Run the cases, ``options.repeats`` of them (0: 50); return the figures."""
    count = options.repeats or CASES
    found = spread(_drifts, range(1, count + 1), jobs=options.jobs)
    blocks = sorted(int(item.note) for item in found if item.note) or [-1]  # -1: none was healed
    return {
        "nonce_drift_cases": count,
        "nonce_drift_wrong": sum(bool(item.problems) for item in found),
        "nonce_drift_blocks_p95": blocks[max(0, -(-95 * len(blocks) // 100) - 1)],
    }


def _drifts(seeds: Sequence[int]) -> list[Outcome]:
    """Run cases under these seeds, on a devnet of this process."""
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="alvh-drift-") as folder:
        (Path(folder) / "commands").mkdir()
        devnet = asyncio.run(start_devnet(cache_dir(), states_kept=1_000_000))
        try:
            with CommandServer(Path(folder) / "commands") as server:
                for seed in seeds:
                    place = Path(folder) / str(seed)
                    place.mkdir()
                    lab = Lab(
                        id="drift", seed=seed, rpc_url=devnet.rpc_url, at=devnet.deployment,
                        server=server, folder=place,
                    )  # fmt: skip
                    found.append(asyncio.run(_healed(lab)))
                    _say(seed, found[-1])
        finally:
            devnet.stop()
    return found


async def _healed(lab: Lab) -> Outcome:
    try:
        return await rigged(heal)(lab)
    except AssertionError as error:  # it did not begin, or did not come to its own nonce
        return Outcome(wrong=(str(error),))


def _say(seed: int, outcome: Outcome) -> None:
    words = "; ".join(outcome.problems) or f"healed in {outcome.note} blocks"
    print(f"seed {seed:<4} drift {BELOW} below, {ABOVE} above: {words}", flush=True)
