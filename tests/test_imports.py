"""What a process imports before it does anything: a signer and every command wait for it (no timing here)."""

import json
import subprocess
import sys

import pytest

PROGRAM = "import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
NUMBERS = ("scipy", "pandas", "numba", "pyarrow", "plotly", "talib", "arch")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("bot.cli", (*NUMBERS, "numpy", "pydantic", "aiohttp", "sqlalchemy", "eth_account", "bot.settings")),
        ("bot.settings", (*NUMBERS, "sqlalchemy", "eth_account", "bot.engine.step")),
        # The password is asked for before eth_account opens the keystore.
        ("bot.app.signer", (*NUMBERS, "sqlalchemy", "eth_account", "apprise", "bot.engine.step")),
    ],
)
def test_a_start_imports_nothing_that_it_may_not_need(module, without):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = set(json.loads(done.stdout))
    assert module in loaded
    assert loaded.isdisjoint(without), sorted(loaded & set(without))
