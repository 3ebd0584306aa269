"""Laws of the noise that paths and histories are made of."""

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.simulation.stress.noise import bridge, generator, ornstein_uhlenbeck, steady_bridge


def test_scenarios_do_not_share_their_noise() -> None:
    assert generator(1, stream=1).standard_normal() != generator(1, stream=2).standard_normal()


def test_a_bridge_is_zero_at_its_knots() -> None:
    knots = {0: 1.0, 7: 2.0, 20: 0.0}
    noise = bridge(generator(1, stream=9), knots, np.full(20, 0.5))
    assert noise[list(knots)] == pytest.approx(0.0, abs=1e-12)
    assert np.abs(noise).max() > 0.1


def test_a_steady_bridge_realises_the_same_vol_in_every_half_day() -> None:
    walk = steady_bridge(generator(2, stream=9), 240, sigma=0.01, max_excursion=10.0)
    blocks = np.diff(walk).reshape(-1, 12)
    assert (walk[0], walk[-1]) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert np.sqrt((blocks**2).mean(axis=1)) == pytest.approx(0.01, rel=0.1)


def test_mean_reverting_noise_stays_in_its_bound() -> None:
    noise = ornstein_uhlenbeck(generator(3, stream=9), 5_000, sigma=0.2, bound=1.5, start=0.0)
    assert noise[0] == 0.0
    assert np.abs(noise).max() <= 0.3 + 1e-12
    assert 0.12 < noise.std() < 0.22


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="-1"):
        generator(-1, stream=1)
