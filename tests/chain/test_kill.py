"""kill -9 at every write: after a restart each transaction is on chain exactly once (REL-E3, REL-K1..K12)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from send_builders import ADDRESS, CHAIN_ID, count, nonce

from bot.chain.send_state import fold
from bot.model.intent import IntentState as S
from bot.pipeline.journal import JournalIdentity, SqlJournal

pytestmark = pytest.mark.devnet

COMMITS = 17  # open the leg, 3 x (reserved, signed, sent, mined, final), close the leg
SENDS = SIGNS = 3
POINTS = [f"{when} commit {number}" for number in range(1, COMMITS + 1) for when in ("before", "after")]
POINTS += [f"{when} send {number}" for number in range(1, SENDS + 1) for when in ("before", "after")]
POINTS += [f"{when} sign {number}" for number in range(1, SIGNS + 1) for when in ("before", "after")]
ONCE = [[point] for point in POINTS]
# Killed again while it recovers, at the first and the second thing the recovery does.
TWICE = [[point, again] for point in POINTS[2::3] for again in ("after commit 1", "before commit 2")]
TWICE += [[point, "after send 1"] for point in ("after commit 3", "before send 2", "after commit 13")]
TWICE += [["after sign 2", again] for again in ("before sign 1", "after sign 1", "before send 1")]
CRASH_LOOP = [[f"after commit {number}" for number in (1, 1, 1, 2, 1, 2, 1, 1, 2)]]


@pytest.mark.parametrize(
    ("name", "cases"),
    [("once", ONCE), ("twice", TWICE), ("crash loop", CRASH_LOOP)],
    ids=lambda item: str(item)[:10],
)
async def test_every_transaction_is_on_chain_exactly_once(node, node_url, tmp_path, name, cases):
    ends = _drive(node_url, tmp_path, cases)
    used = 0
    for case, end in zip(cases, ends, strict=True):
        assert end["last"] == "exit 0", (case, end)
        assert end["ends"][0] == "SIGKILL", (case, end)
        assert [await count(node, end["base"] + offset) for offset in range(3)] == [1, 1, 1], case
        used += await _journal_agrees(node, tmp_path / f"case-{end['index']}.db")
    assert len(ends) == len(cases)
    assert await nonce(node) == await nonce(node, "pending") == used


async def test_the_sweep_covers_every_commit(node, node_url, tmp_path):
    """A new journal row in the life of a transaction must become a new kill point above."""
    (end,) = _drive(node_url, tmp_path, [[]])
    identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=ADDRESS)
    with SqlJournal(tmp_path / f"case-{end['index']}.db", identity=identity) as journal:
        assert sum(journal.count().values()) == COMMITS


async def _journal_agrees(node, path: Path) -> int:
    """Check one journal against the chain, both ways; return how many nonces it used.

    Three of them took effect. The others carried a signature that was lost, and were cancelled.
    """
    identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=ADDRESS)
    with SqlJournal(path, identity=identity) as journal:
        assert journal.verify() == sum(journal.count().values())
        assert journal.open_legs() == ()
        intents = list(fold(journal.intents()).values())
    assert {intent.state for intent in intents} <= {S.FINAL, S.RELEASED, S.CANCELLED}
    mined = [intent for intent in intents if intent.state is not S.RELEASED]
    nonces = [intent.nonce for intent in mined]
    assert nonces == list(range(nonces[0], nonces[0] + len(mined)))
    assert sum(intent.state is S.FINAL for intent in mined) == 3
    for intent in mined:
        assert len(intent.attempts) == 1
        found = await node.request("eth_getTransactionByHash", [intent.tx_hash])
        assert (int(found["nonce"], 16), found["from"].lower()) == (intent.nonce, ADDRESS.lower())
    return len(mined)


def _drive(url: str, folder: Path, cases: list[list[str]]) -> list[dict]:
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent), str(here.parent.parent)])
    done = subprocess.run(
        [sys.executable, str(here / "kill_driver.py"), url, str(folder), json.dumps(cases)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(end["last"] == "exit 0" for end in ends), done.stderr[-2000:]
    return ends
