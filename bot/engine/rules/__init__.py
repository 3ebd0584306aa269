"""The tier rules, one file each. R3 (confirmation) takes what these find and moves the tier."""

from bot.engine.rules.consensus import consensus
from bot.engine.rules.context import TierRule
from bot.engine.rules.defi_liquidity import defi_liquidity
from bot.engine.rules.false_breakdown import false_breakdown
from bot.engine.rules.hard_triggers import crash

TIER_RULES: dict[str, TierRule] = {
    "R1": consensus,
    "R2": crash,
    "R4": false_breakdown,
    "R6": defi_liquidity,
}
