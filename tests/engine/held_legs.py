"""A review of held legs on the factory's market, for the tests of R17, R18 and R28."""

import tomllib
from dataclasses import replace

from engine.factory import CLASSIC_FILE, GROUP, board, context, frame, reading

from bot.engine.choose import choose
from bot.engine.group import read_group
from bot.engine.holding import review_held
from bot.engine.layers import open_layers, plan_layers
from bot.engine.policy import parse_policy
from bot.engine.policy_file import lineage, merged
from bot.engine.sizing import size_group
from bot.model.record import GroupState


def preset(name):
    """Return a preset with all that it extends."""

    def read(each):
        return tomllib.loads(CLASSIC_FILE.with_name(f"{each}.toml").read_text())

    return parse_policy(merged(lineage(read(name), ("classic", "steward", "fortress"), read)))


def review_legs(policy, tier, *hedges, state=None, easing=False, block=0, at=None, **changes):
    """Return the review and the sizing of a group that holds ``hedges`` at a tier, all triggers fired."""
    at = at or frame(**({"held": hedges, "quotes": board()} | changes))
    group = read_group(policy, at, GROUP)
    state = replace(state or GroupState(), tier=tier)
    readings = [reading("S2", 1.0)]
    plans, _, _ = plan_layers(policy, context(policy, readings, state=state, at=at), force=True)
    choices = choose(policy, group, open_layers(tier), at.quotes)
    sizing = size_group(policy, group, tier, plans, choices)
    return review_held(policy, group, tier, sizing.targets, state, easing=easing, block=block), sizing
