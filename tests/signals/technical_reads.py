"""How tests of TECHNICAL signals read one, and the walk of a price that they read it on."""

import numpy as np

from bot.model.tier import Quality
from bot.signals import SIGNALS
from bot.signals.policy import SignalsPolicy

POLICY = SignalsPolicy()


def read(name, columns, now_s, policy=POLICY):
    return [
        item
        for item in SIGNALS[name].read(columns, now_s=now_s, policy=policy)
        if item.quality is not Quality.ABSENT
    ]


def read_one(name, columns, now_s, policy=POLICY):
    (reading,) = read(name, columns, now_s, policy)
    return reading


def walk(size, *, level=3000.0, step=0.006, seed=1):
    rng = np.random.default_rng(seed)
    return level * np.exp(np.cumsum(rng.normal(0.0, step, size)))
