"""The auditor finds what it looks for: one honest run, then the same run with each thing wrong."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.devnet.moves.wire import Tx, calldata
from campaign.audited_calls import judge
from campaign.audited_chain import Brief, Chain
from campaign.auditor import audit
from campaign.rig import Rig, open_rig
from campaign.user_key import user_key

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("auditor")]


@pytest.fixture
async def rig(devnet, server, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig in which a put was bought, with bot and signer at their end."""
    async with open_rig(devnet.rpc_url, devnet.deployment, server, tmp_path, seed=1) as rig:
        rig.pause()
        await rig.start_signer()
        await rig.start_bot()
        assert await rig.step(2)
        rig.resume()
        assert await rig.settle()
        assert await rig.step()
        await rig.end("bot")
        await rig.end("signer")
        yield rig


def _brief(rig: Rig, **changes: object) -> Brief:
    return Brief(**{**rig._brief(), **changes})


def _broken(rig: Rig, **changes: object) -> dict[str, list[str]]:
    return {name: wrong for name, wrong in audit(_brief(rig, **changes)).items() if wrong}


def _forged(rig: Rig, *statements: str) -> str:
    """Return a copy of the journal after some SQL that its own rules would refuse."""
    copy = rig.home.folder.parent / f"forged-{len(statements)}-{abs(hash(statements))}.sqlite"
    with closing(sqlite3.connect(rig.journal_path())) as database:
        database.execute(f"VACUUM INTO '{copy}'")
    with closing(sqlite3.connect(copy)) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert database.execute(statement).rowcount > 0, statement
    return str(copy)


async def test_an_honest_run_is_clean_and_every_wrong_is_found(rig: Rig):
    assert rig.filled() == 1
    assert _broken(rig) == {}

    found = _broken(rig, cap_usd=100.0)
    assert list(found) == ["I3"]
    assert "allowed 100.00" in found["I3"][0]
    assert list(_broken(rig, gas_cap_wei=1)) == ["I3"]
    assert list(_broken(rig, may_send=False)) == ["I11"]
    assert list(_broken(rig, served={**_brief(rig).served, "99999999": "0x0"})) == []  # after the last step
    assert list(_broken(rig, said=("key-1-canary",))) == ["I4"]
    assert list(_broken(rig, said=(str(int(user_key(), 16)),))) == ["I4"]
    nothing = _brief(rig, from_block=int(await rig.chain.request("eth_blockNumber"), 16))
    assert Chain(nothing).approvals() == Chain(nothing).transactions == []  # nothing was mined in the case
    other = {height: "0x" + "ab" * 32 for height in _brief(rig).served}
    assert _broken(rig, served=other) == {}  # a fork that is gone: nobody must have kept it
    (rig.home.folder / "note.txt").write_text(b"key-2-canary".hex())
    assert _broken(rig)["I4"] == ["SECRET: token of provider 2 is in note.txt, as hex"]
    (rig.home.folder / "note.txt").unlink()

    lost = _forged(rig, "DELETE FROM leg_events WHERE kind = 'closed'")
    assert {"I1", "I2", "I8"} <= set(_broken(rig, journal=lost))
    unknown = _forged(rig, "DELETE FROM intent_events", "DELETE FROM leg_events")
    assert {"I1", "I8", "I12"} <= set(_broken(rig, journal=unknown))
    changed = _forged(rig, "UPDATE steps SET at_s = at_s + 1 WHERE sequence = 1")
    assert list(_broken(rig, journal=changed)) == ["I12"]
    other = _forged(rig, """UPDATE steps SET body = replace(body, '"ETH":2940', '"ETH":2000')""")
    assert "I6" in _broken(rig, journal=other)
    twice = _forged(rig, "UPDATE intent_events SET body = json_set(body, '$.nonce', 7)")
    assert "I7" in _broken(rig, journal=twice)
    assert "history" in _brief(rig).history
    assert "I5" in _broken(rig, history="")

    allowed = Tx(
        purpose="somebody else's approval",
        sender=rig.at.user,
        to=rig.at.usdc,
        data=calldata("approve(address,uint256)", rig.at.whale, 2**255),
        gas=100_000,
    )
    await rig.send(allowed)
    await rig.mine()  # returns when nothing waits to be mined any more
    found = _broken(rig)
    assert {"I7", "I9", "I12"} <= set(found)
    assert len(found["I9"]) == 2  # to a stranger, and without bound


async def test_a_signed_transaction_that_is_not_on_the_list_or_without_bounds_is_found(rig: Rig):
    brief, now_s = _brief(rig), int(await rig.now_s())
    for signed in rig.pool.seen:
        assert list(judge(signed, brief, now_s=now_s)) == [], signed
    swap = next(item for item in rig.pool.seen if item.to.lower() == rig.at.v3_router.lower())
    approval = rig.pool.seen[0]
    own, stranger = rig.at.user[2:].lower(), rig.at.whale[2:].lower()
    far = f"{now_s + 8 * 86_400:064x}"
    wrong = {
        "its deadline is": replace(swap, data=swap.data[: 10 + 4 * 64] + far + swap.data[10 + 5 * 64 :]),
        "is not on the list": replace(swap, to=rig.at.whale),
        "it carries 1 wei": replace(swap, value_wei=1),
        "over every limit": replace(swap, gas=50_000_000),
        "not the account": replace(swap, data=swap.data.replace(own, stranger)),
        "without bound": replace(approval, data=approval.data[:-64] + "f" * 64),
        "no contract of the venue": replace(
            approval, data=approval.data[:34] + stranger + approval.data[-64:]
        ),
    }
    for words, signed in wrong.items():
        assert any(words in text for text in judge(signed, brief, now_s=now_s)), words
