"""O8: a package that phones home or reads keys, in the place of one that the bot imports."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from campaign import egress
from campaign.case import Case, Lab, Outcome, unless


async def o8(lab: Lab) -> Outcome:
    """The bot runs in a network namespace of its own, as it is and with a stolen release on its path."""
    clean = await asyncio.to_thread(egress.look, _made(lab, "clean"), ("live",))
    stolen = await asyncio.to_thread(egress.rogue, lab.folder / "stolen")
    return Outcome(
        wrong=(
            *clean.problems(),
            *unless(egress.noticed(stolen), f"the thief was not seen: {stolen.problems()}"),
            *unless(stolen.bytes_out == 0, f"{stolen.bytes_out} bytes went out"),
        ),
        note=f"{len(stolen.foreign)} contacts of the thief were seen, none got out",
    )


def _made(lab: Lab, name: str) -> Path:
    folder = lab.folder / name
    folder.mkdir(parents=True)
    return folder


CASES: Mapping[str, Case] = {"O8": o8}
