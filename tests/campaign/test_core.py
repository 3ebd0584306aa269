"""The campaign's own parts: where it may run, what a pool refuses, what is covered, how it is told."""

import asyncio
import os
import subprocess
import sys

import pytest
from eth_account import Account
from faults.proxy import fault_proxy
from send_builders import CHAIN_ID, KEY, prepare

from bot.chain.fees import GWEI
from bot.chain.rpc import Rpc
from bot.chain.send_errors import SendResult, classify_send_error
from bot.devnet.node import Devnet
from campaign import kills, page, place
from campaign.catalogue import CASES, FAULTS
from campaign.parts import Options
from campaign.pool import WORDS, Client, Mode, Pool, Pooled, Refusal, Refused
from campaign.summary import joined, table
from campaign.wanted import WANTED, is_met, is_whole

GROUPS = {"F": 20, "C": 9, "T": 14, "K": 16, "H": 8, "D": 9, "O": 9}
_MEANT = {
    Refusal.KNOWN: SendResult.TAKEN,
    Refusal.NONCE_TOO_LOW: SendResult.NONCE_TOO_LOW,
    Refusal.NONCE_TOO_HIGH: SendResult.NONCE_TOO_HIGH,
    Refusal.REPLACEMENT: SendResult.UNDERPRICED,
    Refusal.UNDERPRICED: SendResult.UNDERPRICED,
    Refusal.FUNDS: SendResult.NO_FUNDS,
}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org:8545",
        "https://10.0.0.7",
        "http://[2001:db8::1]:8545",
        "file:///x",
        "",
        "127.0.0.1",
    ],
)
def test_it_refuses_every_place_but_this_machine(url):
    with pytest.raises(place.RefusedPlace, match=r"allowed is a devnet on 127\.0\.0\.1 or ::1 alone"):
        place.refuse_public_host(url)


@pytest.mark.devnet
async def test_it_takes_a_devnet_and_refuses_another_chain_on_this_machine(devnet, rpc):
    await place.refuse_other_chains(devnet.rpc_url)
    await rpc.request("anvil_setChainId", [1])
    try:
        with pytest.raises(place.RefusedPlace, match=r"answers chain 1 .* allowed is chain 31337"):
            await place.refuse_other_chains(devnet.rpc_url)
    finally:
        await rpc.request("anvil_setChainId", [CHAIN_ID])


def test_the_command_says_so_in_one_line():
    script = str(place.ROOT / "scripts" / "campaign.py")
    done = subprocess.run(
        [sys.executable, script, "--node", "http://example.org", "faults"],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: the campaign breaks what it is pointed at; asked was 'example.o")
    assert done.stderr.count("\n") == 1


def test_the_catalogue_has_the_85_rows_each_once():
    ids = [fault.id for fault in FAULTS]
    assert ids == [f"{letter}{number}" for letter, count in GROUPS.items() for number in range(1, count + 1)]
    assert len(ids) == 85
    assert set(CASES) <= set(ids)
    assert all(fault.inject and fault.expected for fault in FAULTS)


@pytest.mark.parametrize("client", Client)
@pytest.mark.parametrize("refusal", Refusal)
def test_the_program_understands_each_clients_words(client, refusal):
    words = WORDS[client][refusal].format(next=3, nonce=2)
    assert classify_send_error(words) is _MEANT[refusal]


def _signed(nonce: int, max_fee_wei: int, tip_wei: int) -> str:
    fields = {
        "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "to": "0x" + "11" * 20, "value": 1, "gas": 21_000,
        "maxFeePerGas": max_fee_wei, "maxPriorityFeePerGas": tip_wei,
    }  # fmt: skip
    return "0x" + bytes(Account.from_key(KEY).sign_transaction(fields).raw_transaction).hex()


@pytest.mark.devnet
async def test_a_replacement_pays_ten_percent_more_of_both_fees(rpc: Rpc):
    await prepare(rpc)
    pool = Pool(rpc, mode=Mode.HOLD)
    first = _signed(0, 100 * GWEI, 10 * GWEI)
    tx_hash = await pool.offer(first)
    assert pool.pending(Pooled.of(first).sender, 0) == 1
    with pytest.raises(Refused, match="already known"):
        await pool.offer(first)
    for max_fee, tip in ((110, 10), (100, 11), (109, 11)):
        with pytest.raises(Refused, match="replacement transaction underpriced"):
            await pool.offer(_signed(0, max_fee * GWEI, tip * GWEI))
    assert list(pool.held) == [tx_hash]
    better = await pool.offer(_signed(0, 110 * GWEI, 11 * GWEI))
    assert list(pool.held) == [better]
    await pool.release()
    await rpc.request("evm_mine")  # returns when nothing waits to be mined any more
    assert await rpc.request("eth_getTransactionReceipt", [better]) is not None
    with pytest.raises(Refused, match="nonce too low: next nonce 1, tx nonce 0"):
        await pool.offer(_signed(0, 200 * GWEI, 20 * GWEI))
    assert [why for _, why in pool.refused].count(Refusal.REPLACEMENT) == 3


@pytest.mark.devnet
async def test_one_transaction_that_comes_by_all_providers_at_once_is_taken_once(rpc: Rpc, monkeypatch):
    async def slowly(self: Pool, offered: Pooled) -> bool:
        await asyncio.sleep(0.01)
        return False

    await prepare(rpc)
    monkeypatch.setattr(Pool, "_is_known", slowly)
    pool = Pool(rpc, mode=Mode.HOLD)
    await pool.offer(_signed(0, 100 * GWEI, 10 * GWEI))
    better = _signed(0, 110 * GWEI, 11 * GWEI)
    await asyncio.gather(*(pool.offer(better) for _ in range(3)), return_exceptions=True)
    assert [why for _, why in pool.refused] == [Refusal.KNOWN] * 2


@pytest.mark.devnet
async def test_what_a_reorganisation_removed_is_put_back(rpc: Rpc):
    await prepare(rpc)
    await rpc.request("anvil_mine", ["0x5"])  # a loaded chain has no bodies of the blocks before
    pool = Pool(rpc)
    tx_hash = await pool.offer(_signed(0, 100 * GWEI, 10 * GWEI))
    await rpc.request("evm_mine")  # returns when nothing waits to be mined any more: at most two blocks
    assert await rpc.request("eth_getTransactionReceipt", [tx_hash]) is not None
    await rpc.request("anvil_reorg", [2, []])
    assert await rpc.request("eth_getTransactionReceipt", [tx_hash]) is None
    assert await pool.put_back() == 1
    await rpc.request("evm_mine")
    assert await rpc.request("eth_getTransactionReceipt", [tx_hash]) is not None
    assert await pool.put_back() == 0


@pytest.mark.devnet
async def test_a_block_that_is_mined_changes_no_answer_at_the_one_before(devnet: Devnet, rpc: Rpc):
    """anvil alone answers a few of a thousand such calls with the time of the next block."""
    time_of_block = {"to": devnet.deployment.multicall3, "data": "0x0f28c97d"}  # getCurrentBlockTimestamp()
    async with fault_proxy(devnet.rpc_url) as proxy:
        proxy.pool = pool = Pool(rpc)
        mined = asyncio.create_task(_mine_in_turns(pool, blocks=60))
        while not mined.done():
            block = await proxy.ask("eth_getBlockByNumber", "latest", False)
            found = await proxy.ask("eth_call", time_of_block, {"blockHash": block["hash"]})
            assert int(found, 16) == int(block["timestamp"], 16)
        await mined


async def _mine_in_turns(pool: Pool, *, blocks: int) -> None:
    for _ in range(blocks):
        async with pool.turns.mining():
            await pool.chain.request("evm_mine")
        await asyncio.sleep(0.005)


def test_a_figure_that_is_missing_or_out_of_bounds_is_not_met():
    (violations,) = [wanted for wanted in WANTED if wanted.name == "violations"]
    (kills,) = [wanted for wanted in WANTED if wanted.name == "kills"]
    assert is_met(violations, {"violations": 0})
    assert not is_met(violations, {"violations": 1})
    assert not is_met(violations, {})
    assert is_met(kills, {"kills": 1_000})
    assert not is_met(kills, {"kills": 999})
    shown = table({"kills": 999, "violations": 0})
    assert max(map(len, shown.splitlines())) <= 80
    assert "NOT MET" in shown
    assert "not run" in shown


def test_a_part_that_was_cut_short_is_not_whole_and_one_that_went_badly_is():
    assert is_whole({"kills": 1_000, "duplicates": 3, "mutation_score": 0.1})
    assert not is_whole({"kills": 999, "duplicates": 0})


def test_spending_over_a_cap_adds_up_over_the_parts():
    parts = {"faults": {"cap_violations": 1, "cases": 2}, "kills": {"cap_violations": 4, "kills": 3}}
    assert "cap_violations" not in joined(parts)  # unknown before all three have run
    found = joined(parts | {"caps": {"cap_violations": 2}})
    assert (found["cap_violations"], found["cases"], found["kills"]) == (7, 2, 3)


def test_what_was_kept_counts_for_this_source_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "RESULTS", tmp_path / "results")
    place.keep("part", {"kills": 3})
    assert place.kept("part") == {"kills": 3}
    monkeypatch.setattr(place, "source_hash", lambda: "other")
    assert place.kept("part") is None


def test_the_table_of_kills_can_be_printed_also_with_problems(monkeypatch, capsys):
    """After the last of 1,200 kills the part ended, for a figure was no number."""
    tally = kills.Tally()
    tally.found("open at K1", ["DUPLICATE: two"])
    monkeypatch.setattr(kills, "_spread", lambda *_: tally)
    figures = kills.run(Options())
    rows = table(figures, [wanted for wanted in WANTED if wanted.name in figures]).splitlines()
    assert any("kills after which" in row and row.endswith("NOT MET") for row in rows)
    assert figures["kill_where"] == ["open at K1: DUPLICATE: two"]


def test_the_page_says_what_was_met_and_what_it_cost():
    row = {
        "id": "K3", "inject": "killed", "expected": "once", "cases": 2, "broken": ["I7"],
        "to_alarm_s": 2.94, "to_recover_polls": None, "gas_lost_wei": 210_000_147_000,
    }  # fmt: skip
    shown = page.results({"faults": {"faults_covered": 84, "cases": 85, "rows": [row]}}).splitlines()
    assert "| K3 | killed | once | 2 | I7 | 2.9 s |  | 210 gwei |" in shown
    assert "| cases run (`cases`) | 85 | >= 85 |" in shown
    assert any("(`faults_covered`) | 84, **not met** | = 85 |" in line for line in shown)
    assert any("(`kills`) | not run | >= 1000 |" in line for line in shown)
