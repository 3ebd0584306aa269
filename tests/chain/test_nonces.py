"""Nonces on a real node that others used too: halt, or heal what a person named (REL-E8, E9, T7, T14, P9)."""

import itertools

import pytest
from send_builders import (
    ADDRESS,
    CHAIN_ID,
    COUNTER,
    Proxy,
    chain_time,
    count,
    error,
    leg,
    manager,
    nonce,
    request,
    result,
    signer,
)
from send_tools import foreign_transfer

from bot.chain.account_view import AccountView
from bot.chain.fees import GWEI, Fees
from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Rpc
from bot.chain.send_state import fold
from bot.chain.signer import Unsigned
from bot.errors import ConfigError, InvariantError, OutcomeUnknown, TransientError
from bot.model.intent import IntentState as S
from bot.pipeline.journal import SqlJournal

pytestmark = pytest.mark.devnet


@pytest.fixture(autouse=True)
def open_leg(journal: SqlJournal):
    journal.open_leg(leg(), at_s=1.0)


def _pool(*nonces: int):
    """A node that says which transactions of the account are in its pool, as Geth does and anvil does not."""

    def before(call):
        if call["method"] == "txpool_contentFrom":
            return result(call, {"pending": {}, "queued": {str(nonce): {} for nonce in nonces}})
        return None

    return before


async def test_a_gap_transaction_of_an_earlier_run_halts_before_anything_is_signed(node, node_url, journal):
    """T14: beyond the next nonce, no count shows it; it would be mined once we had filled the gap."""
    await node.request("eth_sendRawTransaction", [foreign_transfer(3)], send=True)
    assert await nonce(node, "pending") == 0
    async with Proxy(node_url, before=_pool(3)) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(InvariantError, match=r"with nonces 3: .* accept_nonce = 4"):
            await manager(rpc, journal, look_in_pool=True).send(request())
    assert journal.intents() == ()


async def test_a_node_that_does_not_show_its_pool_is_named(node, journal):
    with pytest.raises(ConfigError, match=r"chain\.look_in_pool = false"):
        await manager(node, journal, look_in_pool=True).send(request())


async def test_a_gap_transaction_that_nobody_looked_for_halts_when_it_is_mined(node, journal):
    await node.request("eth_sendRawTransaction", [foreign_transfer(1)], send=True)
    await manager(node, journal).send(request())
    with pytest.raises(InvariantError, match="accept_nonce = 2"):
        await manager(node, journal).send(request(2))


async def test_a_gap_that_a_person_named_is_filled_and_trading_goes_on(node, node_url, journal):
    """E8, T14: three free nonces, then the old transaction, which is mined once they are used up."""
    await node.request("eth_sendRawTransaction", [foreign_transfer(3)], send=True)
    async with Proxy(node_url, before=_pool(3)) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, accept_nonce=4, fill_nonces=True, look_in_pool=True)
        receipt = await sender.send(request())
    intents = list(fold(journal.intents()).values())
    filled = [intent for intent in intents if intent.purpose.startswith("fill-")]
    assert [intent.nonce for intent in filled[:3]] == [0, 1, 2]
    assert {intent.state for intent in filled} <= {S.CANCELLED, S.LOST}
    for intent in filled:
        raw = decode_raw(intent.newest.raw)
        assert (raw.to, raw.data, raw.value_wei) == (ADDRESS.lower(), b"", 0)
    assert (intents[-1].nonce, intents[-1].state) == (4, S.FINAL)
    assert receipt.succeeded
    assert (await count(node, 1), await nonce(node)) == (1, 5)


async def test_three_below_and_four_above_are_used_up(node, journal):
    """E8, with the figures of the anchor: seven transfers of nothing, no intent among them is displaced."""
    for number in (1, 2, 3):
        await manager(node, journal).send(request(number))
    sender = manager(node, journal, accept_nonce=10, fill_nonces=True)
    assert (await sender.send(request(4))).succeeded
    assert [await count(node, number) for number in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert await nonce(node) == await nonce(node, "pending") == 11
    assert "fill-3-cancelled" in await sender.resume("leg")


async def test_without_the_setting_a_gap_is_named_and_nothing_is_signed(node, journal):
    await manager(node, journal).send(request())
    with pytest.raises(TransientError, match=r"nobody used nonces 1 to 4; then set execution.fill_nonces"):
        await manager(node, journal, accept_nonce=5).send(request(2))
    assert len(fold(journal.intents())) == 1


async def test_a_filling_that_is_interrupted_goes_on_after_a_restart(node, node_url, journal):
    def before(call):
        return error(call, "txpool is full") if call["method"] == "eth_sendRawTransaction" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(OutcomeUnknown, match="fill-0 with nonce 0"):
            await manager(rpc, journal, accept_nonce=2, fill_nonces=True, deadline_s=0.2).send(request())
    fresh = manager(node, journal, accept_nonce=2, fill_nonces=True)
    assert list(await fresh.resume("leg")) == ["fill-0-cancelled"]
    assert (await fresh.send(request())).succeeded
    assert await nonce(node) == 3


@pytest.mark.parametrize("lies", ["0x0", "0x1", "alternating", None])
async def test_a_node_that_lags_never_makes_a_nonce_come_back(node, node_url, journal, lies):
    """E9: nonce-3, nonce-2, null and changing answers; the journal's count is the truth."""
    for number in (1, 2, 3):
        await manager(node, journal).send(request(number))
    turns = itertools.cycle(["0x0", "0x2", "0x1"])

    def after(call, reply):
        if call["method"] != "eth_getTransactionCount":
            return None
        return result(call, next(turns) if lies == "alternating" else lies)

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(TransientError):
            await manager(rpc, journal).send(request(4))
        assert proxy.sends() == []
    assert (await manager(node, journal).send(request(4))).succeeded
    assert [event.nonce for event in journal.intents() if event.raw] == [0, 1, 2, 3]


async def test_a_node_that_catches_up_is_waited_for(node, node_url, journal):
    await manager(node, journal).send(request())
    behind = iter([True, True, True])

    def after(call, reply):
        latest = call["method"] == "eth_getTransactionCount" and call["params"][1] != "pending"
        return result(call, "0x0") if latest and next(behind, False) else None

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        assert (await manager(rpc, journal).send(request(2))).succeeded
    assert journal.intents()[-1].nonce == 1


async def test_our_own_cancel_leaves_no_gap(node, journal):
    """The nonce of a transaction that was cancelled is used; the next one is the next."""
    await node.request("evm_setAutomine", [False])
    with pytest.raises(OutcomeUnknown):
        await manager(node, journal, deadline_s=0.1).send(request(valid_until_s=await chain_time(node) + 60))
    await node.request("anvil_dropAllTransactions")
    await node.request("evm_increaseTime", [120])
    await node.request("evm_setAutomine", [True])
    await node.request("evm_mine")
    fresh = manager(node, journal)
    assert list(await fresh.resume("leg")) == ["open-cancelled"]
    assert (await fresh.send(request(2))).succeeded
    assert (await nonce(node), journal.intents()[-1].nonce) == (2, 1)


async def test_a_signature_that_was_lost_uses_up_its_nonce(node, journal):
    """REL-K16: the signer signed and its answer never came. Its nonce must not carry anything else."""
    real = signer()

    class Deaf:
        address = real.address

        async def sign(self, unsigned, *, now_s):
            await real.sign(unsigned, now_s=now_s)
            raise OutcomeUnknown("an answer of the signer", "nonce 0")

        async def has_signed(self, chain_id, nonce):
            return await real.has_signed(chain_id, nonce)

    with pytest.raises(OutcomeUnknown, match="the signature of open, nonce 0"):
        await manager(node, journal, signer=Deaf()).send(request())
    assert [event.state for event in journal.intents()] == [S.RESERVED]
    fresh = manager(node, journal, signer=real)
    assert list(await fresh.resume("leg")) == ["open-cancelled"]
    assert (await count(node, 1), await nonce(node)) == (0, 1)
    assert (await fresh.send(request(2))).succeeded


async def test_a_signer_that_did_not_sign_leaves_the_nonce_free(node, journal):
    real = signer()

    class Gone:
        address = real.address

        async def sign(self, unsigned, *, now_s):
            raise OutcomeUnknown("an answer of the signer", "nonce 0")

        async def has_signed(self, chain_id, nonce):
            if self.is_dead:
                raise TransientError("the signer cannot be reached")
            return await real.has_signed(chain_id, nonce)

        is_dead = False

    gone = Gone()
    with pytest.raises(OutcomeUnknown, match="an answer of the signer"):
        await manager(node, journal, signer=gone).send(request())
    assert [event.state for event in journal.intents()] == [S.RESERVED, S.RELEASED]
    gone.is_dead = True
    with pytest.raises(OutcomeUnknown, match="the signature of open, nonce 0"):
        await manager(node, journal, signer=_forgetful(real, gone)).send(request(2))
    assert journal.intents()[-1].state is S.RESERVED
    fresh = manager(node, journal, signer=real)
    assert await fresh.resume("leg") == {}
    assert (await fresh.send(request(3))).succeeded
    assert journal.intents()[-1].nonce == 0


def _forgetful(real, gone):
    """Answers the first question, as it does before a transaction, and nothing after that."""

    class Dying:
        address = real.address
        sign = gone.sign
        asked = 0

        async def has_signed(self, chain_id, nonce):
            self.asked += 1
            return await (gone if self.asked > 1 else real).has_signed(chain_id, nonce)

    return Dying()


async def test_a_nonce_that_only_the_signer_remembers_is_used_up_first(node, journal):
    """Killed while the reservation was on its way to the disk: the signer has it, the journal has not."""
    real = signer()
    head = await AccountView(node, chain_id=CHAIN_ID, sender=ADDRESS).head()
    lost = Unsigned(
        chain_id=CHAIN_ID,
        nonce=0,
        to=COUNTER,
        data=request(7).data,
        value_wei=0,
        gas=100_000,
        fees=Fees(max_fee_wei=3 * GWEI, tip_wei=GWEI),
        valid_until_s=head.time_s + 600,
    )
    await real.sign(lost, now_s=head.time_s)
    sender = manager(node, journal, signer=real)
    assert (await sender.send(request())).succeeded
    intents = list(fold(journal.intents()).values())
    assert [(item.purpose, item.nonce, item.state) for item in intents] == [
        ("fill-0", 0, S.CANCELLED),
        ("open", 1, S.FINAL),
    ]
    assert [await count(node, number) for number in (1, 7)] == [1, 0]


async def test_an_old_journal_that_knows_no_transaction_yet_halts(node, journal, tmp_path):
    """H3: a copy from before the first order was restored. The chain cannot tell, the signer can."""
    real = signer()
    assert (await manager(node, journal, signer=real).send(request())).succeeded
    with SqlJournal(tmp_path / "older.db", identity=journal.identity) as older:
        older.open_leg(leg(), at_s=1.0)
        with pytest.raises(InvariantError, match=r"an old journal was restored.* accept_nonce = 1"):
            await manager(node, older, signer=real).send(request())
        assert older.intents() == ()
        known = manager(node, older, signer=real, accept_nonce=1)
        assert (await known.send(request(2))).succeeded  # a person has looked
    assert [await count(node, number) for number in (1, 2)] == [1, 1]


async def test_a_pool_that_does_not_answer_stops_the_send(node_url, journal):
    def before(call):
        return error(call, "upstream is down") if call["method"] == "txpool_contentFrom" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(TransientError, match="upstream"):
            await manager(rpc, journal, look_in_pool=True).send(request())
    assert journal.intents() == ()


# at rest


async def test_a_key_that_is_used_elsewhere_is_noticed_while_nothing_is_sent(node, journal):
    """P9: by the journal's count, and by that of the first look while the journal has none."""
    first = manager(node, journal)
    await first.check_account()
    await first.check_account()
    await node.request("eth_sendRawTransaction", [foreign_transfer(0)], send=True)
    await node.request("evm_mine")
    for _ in range(2):
        with pytest.raises(InvariantError, match=r"nonce 1 .* accounts for 0: something else used the key"):
            await first.check_account()
    with pytest.raises(InvariantError, match=r"accept_nonce = 1"):
        await first.send(request())
    assert journal.intents() == ()
    named = manager(node, journal, accept_nonce=1)
    await named.check_account()
    await named.send(request())
    await named.check_account()
    await node.request("eth_sendRawTransaction", [foreign_transfer(2)], send=True)
    await node.request("evm_mine")
    with pytest.raises(InvariantError, match=r"nonce 3 .* accounts for 2"):
        await manager(node, journal).check_account()


async def test_a_node_that_lags_at_rest_is_no_stranger(node, node_url, journal):
    await manager(node, journal).send(request())

    answers = iter([result, error])

    def before(call):
        return next(answers)(call, "0x0") if call["method"] == "eth_getTransactionCount" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        lagging = manager(rpc, journal)
        await lagging.check_account()
        with pytest.raises(TransientError):
            await lagging.check_account()


async def test_what_is_on_its_way_is_not_judged_at_rest(node, node_url, journal):
    """Who follows it looks: a new count comes before its receipt."""

    def before(call):
        return error(call, "txpool is full") if call["method"] == "eth_sendRawTransaction" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(OutcomeUnknown):
            await manager(rpc, journal, deadline_s=0.2).send(request())
    await node.request("eth_sendRawTransaction", [foreign_transfer(0)], send=True)
    await node.request("evm_mine")
    await manager(node, journal).check_account()
    with pytest.raises(InvariantError, match="lost nonce 0"):
        await manager(node, journal).resume("leg")
    with pytest.raises(InvariantError, match="lost nonce 0"):
        await manager(node, journal).check_account()
