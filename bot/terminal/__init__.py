"""What a person reads in a terminal of 80 columns, without needing colour."""

from bot.terminal.explain import explain_view
from bot.terminal.lp import lp_view
from bot.terminal.status import order_line, outcome_lines, state_line, status_view
from bot.terminal.views import StepPrinter, fill_progress, hours_progress, plan_view

__all__ = [
    "StepPrinter",
    "explain_view",
    "fill_progress",
    "hours_progress",
    "lp_view",
    "order_line",
    "outcome_lines",
    "plan_view",
    "state_line",
    "status_view",
]
