"""kill -9 at each of the twelve points, the four actions by turns, judged from the chain (REL-K1..K12, K14).

The whole campaign is ``scripts/campaign kills``: each point for each action, and blind kills.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.devnet, pytest.mark.campaign]


def test_no_order_is_doubled_lost_or_left_half_done_wherever_it_dies():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "campaign.py"), "kills", "--short"],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-2000:])
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("12 kills in 12 cases"), last
    assert ": 0 duplicates, 0 lost, 0 over cap, 0 allowances left, 0 problems in all" in last
