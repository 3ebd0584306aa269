"""Perpetuals that a person names and closes by hand, whole or in part (R27)."""

import getpass
import math
import time
from collections.abc import Mapping

from bot.app.look import Look
from bot.engine.perpetual_closing import closing_cost_usd, released_usd, worst_usd
from bot.errors import ConfigError
from bot.model.perpetual import HeldPerpetual, PerpetualAction, PerpetualOrder
from bot.pipeline.desk import Request


def named_perpetuals(look: Look) -> Mapping[str, HeldPerpetual]:
    """Return every perpetual that is held, by its name on the command line: "perp-v2:vETH".

    A venue nets what several groups hold into one position; each group's part is then a name of its own,
    "perp-v2:vETH@ETH/USDC".
    """
    held = look.frame.perpetuals
    names = [f"{item.perpetual.venue}:{item.id}" for item in held]
    return {
        name if names.count(name) == 1 else f"{name}@{item.group}": item
        for name, item in zip(names, held, strict=True)
    }


def perpetual_named(look: Look, name: str) -> tuple[str, HeldPerpetual] | None:
    """Return the perpetual that a person names, "perp-v2:vETH" or "vETH"; None where none is called that."""
    found = [item for item in named_perpetuals(look).items() if name in (item[0], item[0].partition(":")[2])]
    return found[0] if len(found) == 1 else None


def closing_perpetual(
    look: Look, name: str, held: HeldPerpetual, *, size: float | None, price_usd: float | None
) -> Request:
    """Return the order that closes a perpetual, all of it or ``size`` units.

    ``price_usd`` is the worst price of one unit; without it, the mark and what the policy lets a trade cost
    beside it. The margin of what is closed comes back. Raises ConfigError.
    """
    units = abs(held.size)
    wanted = units if size is None else size
    if not 0.0 < wanted <= units * (1.0 + 1e-9):
        raise ConfigError(f"--size {wanted:g}: {name} has {units:g} units; name more than 0")
    wanted = min(wanted, units)
    quote = next((item for item in look.frame.perpetual_quotes if item.perpetual == held.perpetual), None)
    signed = -math.copysign(wanted, held.size)
    limit_usd = worst_usd(look.policy, held, quote, signed) if price_usd is None else price_usd
    if not 0.0 < limit_usd < math.inf:
        raise ConfigError(f"{name}: the worst price of one unit is {limit_usd:g} USD; give --price, over 0")
    order = PerpetualOrder(
        key=f"manual.{time.time_ns()}-{held.group.replace('/', '.')}-PERPETUAL-0",
        group=held.group,
        action=PerpetualAction.REDUCE,
        perpetual=held.perpetual,
        size=signed,
        margin_usd=0.0,
        limit_usd=limit_usd,
        expected_usd=closing_cost_usd(held, quote, signed),
        valid_until_s=look.moment.now_s + look.policy.orders.valid_for,
        position_id=held.id,
        because="asked for by hand",
        release_usd=released_usd(held, signed),
    )
    return Request(legs=(), by=getpass.getuser(), perpetuals=(order,))
