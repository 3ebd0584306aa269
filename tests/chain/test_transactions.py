"""Sending on a real node under faults: one effect per key at most, and the journal knows it (REL-E, T)."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from send_builders import (
    ADDRESS,
    CHAIN_ID,
    COUNTER,
    REFUSER,
    Proxy,
    chain_time,
    count,
    error,
    leg,
    manager,
    nonce,
    refuser_code,
    request,
    result,
    signer,
)
from send_tools import foreign_transfer, resumed, until, until_too_dear

from bot.chain.account_view import AccountView
from bot.chain.fees import GWEI, FeePolicy
from bot.chain.providers import Providers
from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Rpc
from bot.chain.send_state import fold
from bot.errors import (
    BotError,
    ConfigError,
    InvariantError,
    OutcomeUnknown,
    StaleDataError,
    TransientError,
    VenueRejected,
)
from bot.model.intent import IntentState as S
from bot.pipeline.journal import SqlJournal

pytestmark = pytest.mark.devnet


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


def states(journal, key: str = "leg/1-open") -> list[S]:
    return [event.state for event in journal.intents() if event.key == key]


async def test_a_transaction_is_journalled_before_it_is_sent_and_followed_to_its_receipt(node, journal):
    receipt = await manager(node, journal).send(request())
    assert states(journal) == [S.RESERVED, S.SIGNED, S.SENT, S.MINED, S.FINAL]
    assert receipt.succeeded
    assert receipt.gas_cost_wei == journal.intents()[-1].gas_cost_wei > 0
    assert await count(node, 1) == 1
    assert journal.verify() == 6


async def test_the_same_key_sent_a_hundred_times_has_one_effect(node, journal):
    """REL-E1."""
    sender = manager(node, journal)
    receipts = await asyncio.gather(*(sender.send(request()) for _ in range(100)))
    assert {receipt.tx_hash for receipt in receipts} == {receipts[0].tx_hash}
    assert await count(node, 1) == 1
    assert await nonce(node) == 1


async def test_concurrent_sends_take_contiguous_nonces(node, journal):
    """REL-E12."""
    sender = manager(node, journal, deadline_s=30.0)
    await asyncio.gather(*(sender.send(request(number)) for number in range(1, 21)))
    assert sorted(intent.nonce for intent in fold(journal.intents()).values()) == list(range(20))
    assert [await count(node, number) for number in range(1, 21)] == [1] * 20


async def test_a_known_key_with_another_payload_is_refused(node, journal):
    sender = manager(node, journal)
    await sender.send(request())
    changed = request(2)
    with pytest.raises(InvariantError, match="another transaction"):
        await sender.send(type(changed)(**{**_fields(changed), "key": "leg/1-open"}))
    assert await nonce(node) == 1


async def test_a_call_that_reverts_in_simulation_is_never_signed(node, journal):
    """REL-E13."""
    with pytest.raises(VenueRejected, match="too much slippage"):
        await manager(node, journal).send(request(to=REFUSER))
    assert journal.intents() == ()
    assert await nonce(node, "pending") == 0


async def test_a_target_without_code_is_refused(node, journal):
    """REL-T12."""
    await node.request("anvil_setCode", [COUNTER, "0x"])
    with pytest.raises(VenueRejected, match="no contract"):
        await manager(node, journal).send(request())


async def test_gas_over_the_ceiling_is_refused(node, journal):
    with pytest.raises(VenueRejected, match="ceiling"):
        await manager(node, journal).send(request(gas_ceiling=30_000))
    assert journal.intents() == ()


async def test_an_expired_request_is_refused_by_chain_time(node, journal):
    with pytest.raises(VenueRejected, match="valid until"):
        await manager(node, journal).send(request(valid_until_s=await chain_time(node)))
    assert journal.intents() == ()


async def test_what_the_signer_refuses_releases_its_nonce(node, journal):
    strict = manager(node, journal, signer=signer(gas_ceiling=21_000))
    with pytest.raises(VenueRejected, match="signer's ceiling"):
        await strict.send(request())
    assert states(journal) == [S.RESERVED, S.RELEASED]
    await manager(node, journal).send(request(2))
    assert journal.intents()[-1].nonce == 0


async def test_a_node_of_another_chain_is_refused(node, journal):
    """REL-R1, REL-F13."""
    with pytest.raises(ConfigError, match="31337"):
        await manager(node, journal, chain_id=5).send(request())
    assert journal.intents() == ()


async def test_mined_without_effect_is_recorded_once_with_its_gas(node, journal):
    """REL-T5: it passes in simulation and reverts in its block."""
    await node.request("evm_setAutomine", [False])
    task = asyncio.create_task(manager(node, journal).send(request()))
    await until(lambda: S.SENT in states(journal))
    await node.request("anvil_setCode", [COUNTER, "0x60006000fd"])
    await node.request("evm_mine")
    with pytest.raises(VenueRejected, match="reverted"):
        await task
    assert states(journal)[-1] is S.REVERTED
    assert journal.intents()[-1].gas_cost_wei > 0
    assert (await manager(node, journal).resume("leg"))["open"].succeeded is False
    assert await nonce(node) == 1


async def test_a_known_key_with_another_value_is_refused(node, journal):
    sender = manager(node, journal)
    await sender.send(request())
    with pytest.raises(InvariantError, match="another transaction"):
        await sender.send(request(value_wei=1))


async def test_all_is_asked_in_two_requests_and_in_one_when_the_head_was_heard(node, node_url, journal):
    async with Proxy(node_url) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal)
        await sender.send(request())
        methods = [call["method"] for call in proxy.seen]
        before = methods[: methods.index("eth_sendRawTransaction")]
        pinned = [call["params"] for call in proxy.seen if call["method"] == "eth_call"]
        assert before[:2] == ["eth_chainId", "eth_getBlockByNumber"]
        assert sorted(before[2:]) == [
            "eth_call", "eth_estimateGas", "eth_feeHistory", "eth_getBalance", "eth_getBlockByNumber",
            "eth_getCode", "eth_getTransactionCount", "eth_getTransactionCount",
        ]  # fmt: skip
        assert list(pinned[0][1]) == ["blockHash"]
        head = await AccountView(node, chain_id=CHAIN_ID, sender=ADDRESS).head()
        proxy.seen.clear()
        sender.heard(head)
        await sender.send(request(2))
        methods = [call["method"] for call in proxy.seen]
        assert "eth_chainId" not in methods[: methods.index("eth_sendRawTransaction")]


async def test_two_providers_that_must_agree_see_one_transaction(node, node_url, journal):
    """REL-R11: reads at one block by both, the bytes to both, one effect."""
    async with Proxy(node_url) as one, Proxy(node_url) as other:
        rpcs = [Rpc(one.url, timeout_s=2), Rpc(other.url, timeout_s=2)]
        async with Providers(rpcs, chain_id=CHAIN_ID, agreement=2) as both:
            assert (await manager(both, journal).send(request())).succeeded
        assert one.sends() == other.sends() == _raws(journal)
    assert await count(node, 1) == 1


async def test_a_provider_that_lies_about_the_simulation_stops_the_send(node, node_url, journal):
    """REL-R4: what one of two says and the other does not is a hold, and nothing is signed."""

    def after(call, reply):
        return result(call, "0x" + "00" * 32) if call["method"] == "eth_call" else None

    async with Proxy(node_url) as one, Proxy(node_url, after=after) as other:
        rpcs = [Rpc(one.url, timeout_s=2), Rpc(other.url, timeout_s=2)]
        async with Providers(rpcs, chain_id=CHAIN_ID, agreement=2) as both:
            with pytest.raises(StaleDataError):
                await manager(both, journal).send(request())
    assert journal.intents() == ()


async def test_a_head_that_is_not_the_newest_any_more_is_asked_for_again(node, journal):
    sender = manager(node, journal)
    old = await AccountView(node, chain_id=CHAIN_ID, sender=ADDRESS).head()
    await node.request("evm_mine")
    await node.request("anvil_setCode", [COUNTER, "0x60006000fd"])
    await node.request("evm_mine")
    sender.heard(old)  # at its state, the call would still pass
    with pytest.raises(VenueRejected, match="simulated"):
        await sender.send(request())
    assert journal.intents() == ()


async def test_a_head_that_a_reorg_removed_is_asked_for_again(node, journal):
    await node.request("anvil_mine", ["0x5"])
    sender = manager(node, journal)
    sender.heard(await AccountView(node, chain_id=CHAIN_ID, sender=ADDRESS).head())
    await node.request("anvil_reorg", [2, []])
    assert (await sender.send(request())).succeeded


async def test_a_gas_limit_that_a_pool_refuses_is_estimated_anew_once(node, node_url, journal):
    """REL-T8."""
    words = itertools.chain(["intrinsic gas too low: gas 45000, minimum needed 50000"], itertools.repeat(""))

    def before(call):
        if call["method"] != "eth_sendRawTransaction" or not (said := next(words)):
            return None
        return error(call, said)

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        assert (await manager(rpc, journal).send(request())).succeeded
    attempts = [decode_raw(raw) for raw in _raws(journal)]
    assert [attempt.nonce for attempt in attempts] == [0, 0]
    assert attempts[1].fees.max_fee_wei > attempts[0].fees.max_fee_wei
    assert await count(node, 1) == 1


async def test_out_of_gas_is_named_and_not_repeated(node, journal):
    """REL-T8: the state changed so that the limit does not do; all of it is paid, nothing is sent anew."""
    await node.request("evm_setAutomine", [False])
    task = asyncio.create_task(manager(node, journal).send(request()))
    await until(lambda: S.SENT in states(journal))
    await node.request("anvil_setCode", [COUNTER, "0x5b600056"])  # JUMPDEST PUSH1 0 JUMP
    await node.request("evm_mine")
    with pytest.raises(VenueRejected, match=r"reverted in block \d+: out of gas: it used all of its \d+"):
        await task
    assert await nonce(node, "pending") == 1


async def test_out_of_gas_inside_of_a_call_is_named_too(node, journal):
    """REL-T8: what ran out further in reverts with gas left over and words of its own."""
    await node.request("evm_setAutomine", [False])
    task = asyncio.create_task(manager(node, journal).send(request()))
    await until(lambda: S.SENT in states(journal))
    await node.request("anvil_setCode", [COUNTER, "0x6200ea605a10600a57005b600080fd"])  # wants 60,000 gas
    await node.request("evm_mine")
    await node.request("evm_mine")
    with pytest.raises(VenueRejected, match=r"out of gas: with twice its \d+ it passes; reverted: "):
        await task


async def test_a_base_fee_that_runs_away_is_followed_up_to_the_cap_and_said(node, journal):
    """REL-C8: blocks that take nothing at our price; the outcome says what is missing, the budget is kept."""
    await node.request("evm_setAutomine", [False])
    tight = FeePolicy(tip_min_wei=1, tip_max_wei=GWEI, max_fee_cap_wei=8 * GWEI)
    sender, told = manager(node, journal, bump_after_s=0.05, fees=tight, deadline_s=4.0), list[BotError]()
    sender._follower.on_trouble = told.append
    task = asyncio.create_task(sender.send(request()))
    await until(lambda: S.SENT in states(journal))
    for base_gwei in (4, 16, 64, 100):
        await node.request("anvil_setNextBlockBaseFeePerGas", [hex(base_gwei * GWEI)])
        await node.request("evm_mine")
        await asyncio.sleep(0.1)
    await until(lambda: told)
    assert not task.done(), "it is told while it is waited for"
    with pytest.raises(OutcomeUnknown, match=r"gas is too dear: .* execution.max_fee_gwei"):
        await task
    assert max(decode_raw(raw).fees.max_fee_wei for raw in _raws(journal)) <= 8 * GWEI
    await node.request("anvil_setNextBlockBaseFeePerGas", [hex(GWEI)])
    await node.request("evm_setAutomine", [True])
    await node.request("evm_mine")
    assert (await manager(node, journal).resume("leg"))["open"].succeeded
    assert await count(node, 1) == 1
    assert [str(item).partition(",")[0] for item in told] == ["outcome of open with nonce 0"], "once"
    assert "gas is too dear" in str(told[0])


# answers that say nothing


@pytest.mark.parametrize("fault", ["cut", "null", "wrong id", "HTTP 500", "unknown words"])
async def test_a_send_whose_answer_is_lost_is_looked_up_and_not_repeated(node, node_url, journal, fault):
    """REL-E4, REL-T1: the node took it, we were not told."""

    def after(call, reply):
        if call["method"] != "eth_sendRawTransaction":
            return None
        return {
            "cut": Proxy.CUT,
            "null": result(call, None),
            "wrong id": {**reply, "id": 10**9},
            "HTTP 500": error(call, "internal error"),
            "unknown words": error(call, "the flux capacitor is empty"),
        }[fault]

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        receipt = await manager(rpc, journal).send(request())
        assert len(proxy.sends()) == 1
    assert receipt.succeeded
    assert await count(node, 1) == 1
    assert states(journal) == [S.RESERVED, S.SIGNED, S.SENT, S.MINED, S.FINAL]


async def test_a_send_that_never_reached_the_node_is_repeated_with_the_same_bytes(node, node_url, journal):
    """REL-T2: the reply says taken, the pool never had it."""
    lies = iter([True, True])

    def before(call):
        if call["method"] == "eth_sendRawTransaction" and next(lies, False):
            return result(call, decode_raw(call["params"][0]).tx_hash)
        return None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        await manager(rpc, journal).send(request())
        assert len(proxy.sends()) == 3
        assert len(set(proxy.sends())) == 1
    assert await count(node, 1) == 1


async def test_no_answer_at_all_ends_as_unknown_and_blocks_the_next_send(node, node_url, journal):
    silent = {"eth_sendRawTransaction"}

    def before(call):
        return Proxy.CUT if call["method"] in silent else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, deadline_s=0.3)
        with pytest.raises(OutcomeUnknown) as caught:
            await sender.send(request())
        assert caught.value.key == "leg/1-open"
        with pytest.raises(OutcomeUnknown, match="earlier transaction"):
            await sender.send(request(2))
        silent.clear()
        receipts = await resumed(sender)
    assert receipts["open"].succeeded
    assert len({raw for raw in proxy.sends()}) == 1
    assert await count(node, 1) == 1


async def test_without_gas_money_the_same_bytes_wait_for_it(node, journal):
    """REL-E15."""
    real = node.request

    async def drained(method, params=(), *, send=False):
        if send:
            await real("anvil_setBalance", [ADDRESS, "0x0"])
        return await real(method, params, send=send)

    node.request = drained
    with pytest.raises(OutcomeUnknown, match="open with nonce 0"):
        await manager(node, journal, deadline_s=0.2).send(request())
    assert states(journal) == [S.RESERVED, S.SIGNED]
    node.request = real
    await node.request("anvil_setBalance", [ADDRESS, hex(10**20)])
    assert (await manager(node, journal).resume("leg"))["open"].succeeded
    assert len([event for event in journal.intents() if event.raw]) == 1


async def test_every_byte_that_goes_out_is_on_disk_before(node, node_url, journal, tmp_path):
    """The order of writes: another process that reads the file finds what the node is about to get."""
    found = []

    def before(call):
        if call["method"] == "eth_sendRawTransaction":
            with SqlJournal(tmp_path / "journal.db", read_only=True) as on_disk:
                found.append(call["params"][0] in [event.raw for event in on_disk.intents()])
        return

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        await manager(rpc, journal).send(request())
    assert found == [True]


@pytest.mark.parametrize("failing", [S.RESERVED, S.SIGNED])
async def test_after_a_failed_write_nothing_is_sent(node, node_url, journal, failing):
    """REL-H2."""

    class Failing:
        broken = False

        def __getattr__(self, name):
            return getattr(journal, name)

        def append_intent(self, event):
            self.broken = self.broken or event.state is failing
            if self.broken:
                raise InvariantError("disk I/O error")
            journal.append_intent(event)

    async with Proxy(node_url) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, Failing())
        for _ in range(3):
            with pytest.raises(InvariantError, match="disk"):
                await sender.send(request())
        if failing is S.SIGNED:
            with pytest.raises(InvariantError, match="disk"):
                await sender.resume("leg")
        assert proxy.sends() == []
    assert S.SIGNED not in states(journal)


# reorgs and depth


async def test_a_receipt_of_a_block_that_is_not_canonical_does_not_count(node, node_url, journal):
    """REL-F15."""
    stale = iter([True] * 3)

    def after(call, reply):
        if call["method"] == "eth_getTransactionReceipt" and reply["result"] and next(stale, False):
            return result(call, {**reply["result"], "blockHash": "0x" + "ee" * 32})
        return None

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        receipt = await manager(rpc, journal).send(request())
    assert next(stale, None) is None
    assert {event.block_hash for event in journal.intents() if event.block_hash} == {receipt.block_hash}
    assert receipt.block_hash != "0x" + "ee" * 32


@pytest.mark.parametrize(
    "change",
    [
        {"transactionHash": "0x" + "ee" * 32},
        {"gasUsed": None},
        {"status": "0x"},
        {"blockNumber": "12"},
        {"logs": None},
        {"logs": [{"topics": None}]},
    ],
)
async def test_a_malformed_receipt_is_asked_for_again(node, node_url, journal, change):
    """REL-F9, REL-F15: never half believed."""
    lies = iter([True] * 2)

    def after(call, reply):
        if call["method"] == "eth_getTransactionReceipt" and reply["result"] and next(lies, False):
            return result(call, {**reply["result"], **change})
        return None

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        assert (await manager(rpc, journal).send(request())).succeeded
    assert next(lies, None) is None
    assert states(journal) == [S.RESERVED, S.SIGNED, S.SENT, S.MINED, S.FINAL]


async def test_final_waits_for_its_depth(node, journal):
    """REL-E11."""
    task = asyncio.create_task(manager(node, journal, confirmations=3).send(request()))
    await until(lambda: S.MINED in states(journal))
    await node.request("evm_mine")
    await asyncio.sleep(0.1)
    assert not task.done()
    await node.request("evm_mine")
    assert (await task).succeeded


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_reorg_that_drops_the_transaction_sends_the_same_bytes_again(node, journal, depth):
    """REL-E10, REL-C2."""
    await node.request("anvil_mine", ["0x5"])
    task = asyncio.create_task(manager(node, journal, confirmations=3).send(request()))
    await until(lambda: S.MINED in states(journal))
    if depth == 2:
        await node.request("evm_mine")
    await node.request("anvil_reorg", [depth, []])
    await until(lambda: states(journal).count(S.MINED) == 2)
    await node.request("anvil_mine", ["0x3"])
    assert (await task).succeeded
    assert S.SENT in states(journal)[4:]
    assert len([event for event in journal.intents() if event.raw]) == 1
    assert await count(node, 1) == 1
    assert await nonce(node) == 1


async def test_a_nonce_that_someone_else_used_halts(node, journal):
    """REL-P9, REL-T7, REL-C4."""
    await node.request("anvil_mine", ["0x5"])
    task = asyncio.create_task(manager(node, journal, confirmations=2).send(request()))
    await until(lambda: S.MINED in states(journal))
    foreign = foreign_transfer()
    await node.request("anvil_reorg", [1, [[foreign, 0]]])
    await node.request("anvil_mine", ["0x3"])
    with pytest.raises(InvariantError, match="not ours"):
        await task
    assert states(journal)[-1] is S.LOST
    with pytest.raises(InvariantError, match="accept_nonce = 1"):
        await manager(node, journal).resume("leg")
    with pytest.raises(InvariantError, match="accept_nonce = 1"):
        await manager(node, journal).send(request(2))
    assert await manager(node, journal, accept_nonce=1).resume("leg") == {}
    assert (await manager(node, journal, accept_nonce=1).send(request(2))).succeeded


async def test_a_chain_that_is_ahead_of_the_journal_halts(node, journal):
    """REL-P9, REL-H3: foreign use of the key, or an old journal was restored."""
    await manager(node, journal).send(request())
    await node.request("anvil_setNonce", [ADDRESS, "0x4"])
    with pytest.raises(InvariantError, match="accept_nonce = 4"):
        await manager(node, journal).send(request(2))
    assert (await manager(node, journal, accept_nonce=4).send(request(2))).succeeded
    assert journal.intents()[-1].nonce == 4


async def test_a_foreign_transaction_in_the_pool_halts(node, journal):
    await manager(node, journal).send(request())
    await node.request("evm_setAutomine", [False])
    await node.request("eth_sendRawTransaction", [foreign_transfer(nonce=1)], send=True)
    with pytest.raises(InvariantError, match="accounts for 1"):
        await manager(node, journal).send(request(2))


async def test_an_account_with_a_past_starts_at_its_nonce(node, journal):
    await node.request("anvil_setNonce", [ADDRESS, "0x7"])
    await manager(node, journal).send(request())
    assert journal.intents()[-1].nonce == 7


async def test_a_lagging_node_never_brings_a_nonce_back(node, node_url, journal):
    """REL-E9."""
    await manager(node, journal).send(request())

    def after(call, reply):
        if call["method"] == "eth_getTransactionCount":
            return result(call, "0x0")
        return None

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(TransientError, match="lags"):
            await manager(rpc, journal).send(request(2))
        assert proxy.sends() == []
    assert len(fold(journal.intents())) == 1


# replacement


async def test_a_transaction_that_is_not_mined_is_replaced_at_its_nonce(node, journal):
    """REL-E6."""
    await node.request("evm_setAutomine", [False])
    task = asyncio.create_task(manager(node, journal, bump_after_s=0.1).send(request()))
    await until(lambda: states(journal).count(S.SIGNED) >= 3)
    await node.request("evm_mine")
    receipt = await task
    attempts = [decode_raw(event.raw) for event in journal.intents() if event.raw]
    assert {attempt.nonce for attempt in attempts} == {0}
    for old, new in itertools.pairwise(attempts):
        assert new.fees.max_fee_wei * 8 >= old.fees.max_fee_wei * 9
        assert new.fees.tip_wei * 8 >= old.fees.tip_wei * 9
    assert receipt.tx_hash in {attempt.tx_hash for attempt in attempts}
    assert await count(node, 1) == 1
    assert await nonce(node) == 1


async def test_the_first_attempt_may_win_after_a_replacement(node, node_url, journal):
    """REL-E5, REL-T6: a receipt of any of its hashes counts."""
    held: list[str] = []

    def before(call):
        if call["method"] != "eth_sendRawTransaction":
            return None
        held.append(call["params"][0])
        return result(call, decode_raw(call["params"][0]).tx_hash)

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        task = asyncio.create_task(manager(rpc, journal, bump_after_s=0.1).send(request()))
        await until(lambda: states(journal).count(S.SIGNED) >= 3)
        await node.request("eth_sendRawTransaction", [held[0]], send=True)
        receipt = await task
    assert receipt.tx_hash == decode_raw(held[0]).tx_hash
    assert await count(node, 1) == 1


async def test_a_pool_that_calls_it_underpriced_gets_a_higher_fee(node, node_url, journal):
    """REL-T3, REL-T4: geth's rule that anvil does not have."""
    refused = iter([True, True])

    def before(call):
        if call["method"] == "eth_sendRawTransaction" and next(refused, False):
            return error(call, "replacement transaction underpriced")
        return None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        assert (await manager(rpc, journal).send(request())).succeeded
        assert len(set(proxy.sends())) == 3
    assert await nonce(node) == 1
    assert await count(node, 1) == 1


async def test_the_cap_stops_replacement_and_not_the_watch(node, journal):
    """REL-C8: no bump over the cap; the transaction stays followed."""
    await node.request("evm_setAutomine", [False])
    tight = FeePolicy(tip_min_wei=1, tip_max_wei=GWEI, max_fee_cap_wei=3 * GWEI)
    task = asyncio.create_task(manager(node, journal, bump_after_s=0.02, fees=tight).send(request()))
    await until(lambda: S.SENT in states(journal))
    await asyncio.sleep(0.4)
    fees = [decode_raw(event.raw).fees.max_fee_wei for event in journal.intents() if event.raw]
    assert max(fees) <= 3 * GWEI
    await node.request("evm_mine")
    assert (await task).succeeded


async def test_gas_dearer_than_the_cap_signs_nothing(node, journal):
    await node.request("anvil_setNextBlockBaseFeePerGas", [hex(500 * GWEI)])
    await node.request("evm_mine")
    with pytest.raises(VenueRejected, match="too dear"):
        await manager(node, journal).send(request())
    assert journal.intents() == ()


async def test_without_gas_money_nothing_is_signed(node, journal):
    await node.request("anvil_setBalance", [ADDRESS, hex(10**12)])
    with pytest.raises(VenueRejected, match=r"open: gas and value may cost 0\.\d+ .* holds 0\.000001"):
        await manager(node, journal).send(request())
    assert journal.intents() == ()


async def test_gas_over_the_requests_own_bound_signs_nothing(node, journal):
    with pytest.raises(VenueRejected, match="too dear"):
        await manager(node, journal).send(request(max_gas_cost_wei=10**9))
    assert journal.intents() == ()


async def test_no_replacement_goes_over_the_requests_own_bound_not_even_after_a_restart(node, journal):
    await node.request("evm_setAutomine", [False])
    free = manager(node, journal, deadline_s=0.05)
    with pytest.raises(OutcomeUnknown):
        await free.send(request(max_gas_cost_wei=(bound_wei := 5 * 10**14)))
    fresh = manager(node, journal, bump_after_s=0.01, resume_wait_s=0.5)
    await until_too_dear(fresh)
    attempts = [decode_raw(raw) for raw in _raws(journal)]
    assert len(attempts) > 1
    assert max(item.gas * item.fees.max_fee_wei for item in attempts) <= bound_wei
    dearest = attempts[-1].gas * attempts[-1].fees.max_fee_wei
    assert dearest * 9 // 8 > bound_wei - attempts[-1].gas  # it was the bound that ended it
    await node.request("evm_mine")
    assert (await manager(node, journal).resume("leg"))["open"].gas_cost_wei <= bound_wei


async def test_a_cancel_may_cost_more_than_the_requests_bound(node, node_url, journal):
    await node.request("evm_setAutomine", [False])
    until_s = await chain_time(node) + 60
    is_shut = False

    def before(call):  # from then on the pool takes cancels only
        if not is_shut or call["method"] != "eth_sendRawTransaction":
            return None
        is_cancel = decode_raw(call["params"][0]).data == b""
        return None if is_cancel else error(call, "txpool is full")

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        wanted = request(valid_until_s=until_s, max_gas_cost_wei=5 * 10**14)
        task = asyncio.create_task(manager(rpc, journal, bump_after_s=0.01).send(wanted))
        await until(lambda: len(_hashes(journal)) > 1)
        is_shut = True
        await node.request("evm_setNextBlockTimestamp", [int(until_s) + 60])
        await asyncio.sleep(0.2)  # what was on its way to the pool has arrived
        await node.request("anvil_dropAllTransactions")
        await node.request("evm_mine")
        await until(lambda: decode_raw(_raws(journal)[-1]).data == b"" or task.done())
        await node.request("evm_setAutomine", [True])
        await node.request("evm_mine")
        with pytest.raises(VenueRejected, match="cancelled"):
            await task


async def test_an_unknown_outcome_carries_the_nodes_last_words_and_resume_does_not_wait_long(
    node, node_url, journal
):
    def before(call):
        return error(call, "txpool is full") if call["method"] == "eth_sendRawTransaction" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, deadline_s=0.3)
        with pytest.raises(OutcomeUnknown, match="the node said: txpool is full"):
            await sender.send(request())
        patient = manager(rpc, journal, deadline_s=60.0, resume_wait_s=None)
        async with asyncio.timeout(2.0):
            with pytest.raises(OutcomeUnknown, match="the node said: txpool is full"):
                await patient.resume("leg")


async def test_a_foreign_nonce_is_found_although_each_resume_is_short(node, journal):
    await node.request("anvil_mine", ["0x5"])
    await node.request("evm_setAutomine", [False])
    with pytest.raises(OutcomeUnknown):
        await manager(node, journal, deadline_s=0.05).send(request())
    await node.request("anvil_dropTransaction", [_hashes(journal)[0]])
    await node.request("eth_sendRawTransaction", [foreign_transfer()], send=True)
    await node.request("evm_mine")
    fresh = manager(node, journal, resume_wait_s=0.0)
    for _ in range(4):
        with pytest.raises(OutcomeUnknown, match="nonce is used"):
            await fresh.resume("leg")
    with pytest.raises(InvariantError, match="not ours"):
        await fresh.resume("leg")


async def test_past_its_time_a_transaction_is_cancelled_at_its_nonce(node, journal):
    """REL-E7."""
    await node.request("evm_setAutomine", [False])
    until_s = await chain_time(node) + 60
    sender = manager(node, journal, resend_after_s=60.0)  # or it would send again what is dropped here
    task = asyncio.create_task(sender.send(request(valid_until_s=until_s)))
    await until(lambda: S.SENT in states(journal))
    await node.request("anvil_dropTransaction", [_hashes(journal)[0]])
    await node.request("evm_increaseTime", [120])
    await node.request("evm_mine")
    await until(lambda: len(_hashes(journal)) == 2)
    await _until_known(node, _hashes(journal)[1])
    await node.request("evm_mine")
    with pytest.raises(VenueRejected, match="cancelled"):
        await task
    assert states(journal)[-1] is S.CANCELLED
    assert await count(node, 1) == 0
    assert await nonce(node) == 1
    cancel = decode_raw(_raws(journal)[-1])
    assert (cancel.to, cancel.data, cancel.value_wei) == (ADDRESS.lower(), b"", 0)
    receipts = await manager(node, journal).resume("leg")
    assert list(receipts) == ["open-cancelled"]  # no trade of that purpose, and its gas was paid
    assert receipts["open-cancelled"].gas_cost_wei > 0


async def test_when_the_original_beats_its_cancel_it_is_booked(node, node_url, journal):
    """REL-E7, the other order."""
    await node.request("evm_setAutomine", [False])
    until_s = await chain_time(node) + 60

    def before(call):  # the pool keeps the first and never gets the cancel
        if call["method"] == "eth_sendRawTransaction" and len(_hashes(journal)) == 2:
            return error(call, "txpool is full")
        return None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, resend_after_s=60.0)  # or it would send again what is dropped here
        task = asyncio.create_task(sender.send(request(valid_until_s=until_s)))
        await until(lambda: S.SENT in states(journal))
        raw = _raws(journal)[0]
        await node.request("anvil_dropTransaction", [_hashes(journal)[0]])
        await node.request("evm_increaseTime", [120])
        await node.request("evm_mine")
        await until(lambda: len(_hashes(journal)) == 2)
        await node.request("eth_sendRawTransaction", [raw], send=True)
        await node.request("evm_mine")
        assert (await task).succeeded
    assert states(journal)[-1] is S.FINAL
    assert await count(node, 1) == 1


# another try


def _again(number=1):
    return replace(request(number), again=True)


async def test_what_never_took_effect_is_tried_anew_where_that_is_asked_for(node, journal):
    """E1: a key has one effect at most. The second try says something else, as a withdrawal may."""
    refusing = manager(node, journal, signer=signer(gas_ceiling=21_000))
    with pytest.raises(VenueRejected, match="signer's ceiling"):
        await refusing.send(_again())
    with pytest.raises(VenueRejected, match="was released: 54176 gas is over the signer's ceiling"):
        await manager(node, journal).send(request())
    changed = replace(_again(), data=request(7).data)
    for sender in (manager(node, journal), manager(node, journal)):
        assert (await sender.send(changed)).succeeded
    assert states(journal, "leg/1-open~1")[-1] is S.FINAL
    assert (await count(node, 1), await count(node, 7), await nonce(node)) == (0, 1, 1)
    with pytest.raises(InvariantError, match="leg/1-open~1 was journalled for another transaction"):
        await manager(node, journal).send(_again())
    assert set(await manager(node, journal).resume("leg")) == {"open"}


async def test_a_try_that_may_have_an_effect_is_followed_and_not_followed_by_another(node, node_url, journal):
    """On its way, after a kill, mined without effect: none of these is tried anew by its key."""

    def before(call):
        return error(call, "txpool is full") if call["method"] == "eth_sendRawTransaction" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await manager(rpc, journal, deadline_s=0.1).send(_again())
    assert len(fold(journal.intents())) == 1
    await node.request("anvil_setCode", [COUNTER, refuser_code("changed meanwhile")])
    for _ in range(2):
        with pytest.raises(VenueRejected, match="was reverted"):
            await manager(node, journal).send(_again())
    assert len(fold(journal.intents())) == 1
    assert await nonce(node) == 1


async def test_what_somebody_else_may_have_sent_is_not_tried_anew(node, journal):
    """The same call may be in the transaction that used its nonce: a wallet that paid a higher fee."""
    await test_a_nonce_that_someone_else_used_halts(node, journal)
    with pytest.raises(VenueRejected, match="was lost"):
        await manager(node, journal, accept_nonce=1).send(_again())


# restart


async def test_resume_releases_what_was_never_signed(node, journal):
    broken = signer()
    stop = InvariantError("signer is gone")

    class Gone:
        address = broken.address

        async def sign(self, unsigned, *, now_s):
            raise KeyboardInterrupt from stop

        async def has_signed(self, chain_id, nonce):
            return await broken.has_signed(chain_id, nonce)

    with pytest.raises(KeyboardInterrupt):
        await manager(node, journal, signer=Gone()).send(request())
    assert states(journal) == [S.RESERVED]
    fresh = manager(node, journal)
    assert await fresh.resume("leg") == {}
    assert states(journal) == [S.RESERVED, S.RELEASED]
    await fresh.send(request(2))
    assert journal.intents()[-1].nonce == 0


async def test_damaged_bytes_in_the_journal_are_never_sent(node, node_url, journal):
    def before(call):
        return Proxy.CUT if call["method"] == "eth_sendRawTransaction" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(OutcomeUnknown):
            await manager(rpc, journal, deadline_s=0.1).send(request())

    class Damaged:
        def intents(self, leg_key=None):
            return tuple(
                type(event)(**{**_fields(event), "raw": event.raw[:-2] + "00"}) if event.raw else event
                for event in journal.intents(leg_key)
            )

    with pytest.raises(InvariantError, match="journal"):
        await manager(node, Damaged()).resume("leg")
    assert await nonce(node, "pending") == 0


async def _until_known(node, tx_hash: str) -> None:
    async with asyncio.timeout(30.0):
        while await node.request("eth_getTransactionByHash", [tx_hash]) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _fields(value) -> dict:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def _raws(journal) -> list[str]:
    return [event.raw for event in journal.intents() if event.raw]


def _hashes(journal) -> list[str]:
    return [event.tx_hash for event in journal.intents() if event.raw]
