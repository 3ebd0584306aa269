"""What the engine must do in a crash, for steward and classic alike. Seed 1; the laws name their rules."""

import pytest

from bot.model.base_layers import Action
from bot.model.tier import Tier
from bot.simulation.stress.figures import is_met


def test_a_cascade_is_hedged_and_the_loan_is_rescued(finding, policy) -> None:
    """R26: less drawdown than alone. R2, R21: the health factor under 1.25 is repaid at once, at any tier."""
    found = finding("lending-cascade", policy)
    assert found.unhedged == pytest.approx(1.0 - (1.0 - 0.34) ** 0.5, abs=0.002)
    assert found.hedged < found.unhedged
    assert found.highest >= Tier.SEVERE
    assert found.elevated is not None
    assert 0.0 <= found.elevated.share < 0.75
    assert found.guarded is not None
    assert found.guarded.before_low_h >= found.elevated.before_low_h
    rescue = next(item for item in found.raised if item.proposal.action is Action.REPAY)
    assert rescue.proposal.subject == "loan"
    assert rescue.proposal.health_after == pytest.approx(1.6, abs=0.001)
    assert all(is_met(item, found.run.paths) for item in found.run.scenario.figures)


def test_a_drained_bridge_is_a_crisis_of_the_stable_that_came_over_it(finding, policy) -> None:
    """R2: S7 < 0.98 -> SEVERE, < 0.90 -> CRISIS; R29: leave. The first step that sees it is an hour in."""
    found = finding("bridge-drain", policy)
    crisis = next(item for item in found.protocols if item.name == "USDC")
    assert crisis.highest is Tier.CRISIS
    assert 45.5 <= crisis.since_h <= 47.0
    assert "coverage of nomad" in crisis.because
    assert found.protocol is not None
    assert found.protocol.share < 0.5, "before half of it was gone"
    assert any(item.proposal.rule == "R29" and item.proposal.part == 1.0 for item in found.raised)


def test_a_depeg_is_the_stables_own_and_counts_in_what_the_lp_lost(finding, policy) -> None:
    """R2: off par by over 5 % at two kinds of sources -> SEVERE of the stable; the LP loses sqrt(0.88)."""
    found = finding("stablecoin-depeg", policy)
    stable = next(item for item in found.protocols if item.name == "USDC")
    assert stable.highest is Tier.SEVERE
    assert 27.0 <= stable.since_h <= 30.0
    assert found.unhedged == pytest.approx(1.0 - 0.88**0.5, abs=0.03)
    assert any(item.proposal.action is Action.SPEND for item in found.raised)
