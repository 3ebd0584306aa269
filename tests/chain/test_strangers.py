"""Who used a nonce: LOST is concluded from another's transaction, never from a receipt that is missing."""

import pytest
from eth_utils.crypto import keccak
from send_builders import ADDRESS, CHAIN_ID, Proxy, count, error, leg, manager, request, result
from send_tools import foreign_transfer

from bot.chain.providers import Providers
from bot.chain.rpc import Rpc
from bot.chain.send_state import SendPolicy, fold
from bot.errors import BotError, InvariantError, OutcomeUnknown
from bot.model.intent import IntentState as S

pytestmark = pytest.mark.devnet
LOOKS = SendPolicy().foreign_polls


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


def no_receipt(call, reply):
    """A node whose index of receipts lags its state."""
    return result(call, None) if call["method"] == "eth_getTransactionReceipt" else None


def last(journal):
    (intent,) = fold(journal.intents()).values()
    return intent


def hash_of(raw):
    return "0x" + keccak(hexstr=raw).hex()


async def unsent(node_url, journal):
    """Sign a transaction that no pool takes."""

    def before(call):
        return error(call, "txpool is full") if call["method"] == "eth_sendRawTransaction" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(OutcomeUnknown):
            await manager(rpc, journal, deadline_s=0.05).send(request())


@pytest.mark.parametrize("blocks", [0, 1, 40])
async def test_our_own_transaction_is_never_lost_however_long_its_receipt_is_missing(
    node, node_url, journal, blocks
):
    async with Proxy(node_url, after=no_receipt) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, deadline_s=0.5, resume_wait_s=0.5)
        with pytest.raises(OutcomeUnknown, match="the nonce is used; looking for the receipt"):
            await sender.send(request())
        await node.request("anvil_mine", [hex(blocks)])
        with pytest.raises(OutcomeUnknown, match="the nonce is used; looking for the receipt"):
            await sender.resume("leg")
        assert last(journal).state is S.SENT
        proxy.after = None
        assert (await manager(rpc, journal).send(request())).succeeded
    assert last(journal).state is S.FINAL
    assert await count(node, 1) == 1


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("used", [1, 3])
async def test_another_transaction_is_found_wherever_it_was_mined(node, node_url, journal, blocks, used):
    """T7, P9: the nonces after it may be used too, in its own block and after it."""
    await unsent(node_url, journal)
    await node.request("evm_setAutomine", [False])
    for number in range(used):
        await node.request("eth_sendRawTransaction", [foreign_transfer(number)], send=True)
    await node.request("evm_mine")
    await node.request("anvil_mine", [hex(blocks)])
    with pytest.raises(InvariantError, match="not ours"):
        await manager(node, journal).resume("leg")
    assert last(journal).state is S.LOST
    assert hash_of(foreign_transfer(0)) in last(journal).because


async def test_another_transaction_without_a_receipt_proves_nothing_yet(node, node_url, journal):
    await unsent(node_url, journal)
    await node.request("eth_sendRawTransaction", [foreign_transfer()], send=True)
    await node.request("evm_mine")
    async with Proxy(node_url, after=no_receipt) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender = manager(rpc, journal, resume_wait_s=0.0)
        for _ in range(LOOKS + 1):
            with pytest.raises(OutcomeUnknown, match="the nonce is used; looking for the receipt"):
                await sender.resume("leg")
        proxy.after = None
        with pytest.raises(InvariantError, match="not ours"):
            await sender.resume("leg")


async def test_a_node_without_old_states_concludes_nothing_and_says_why(node, node_url, journal):
    await unsent(node_url, journal)
    await node.request("eth_sendRawTransaction", [foreign_transfer()], send=True)
    await node.request("anvil_mine", ["0x8"])
    newest = await node.request("eth_blockNumber")

    def before(call):
        is_old = call["method"] == "eth_getTransactionCount" and call["params"][1] != newest
        return error(call, "missing trie node") if is_old else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        sender, told = manager(rpc, journal, resume_wait_s=0.0, bump_after_s=1e-6), list[BotError]()
        sender._follower.on_trouble = told.append
        for _ in range(LOOKS - 1):
            with pytest.raises(OutcomeUnknown, match="the nonce is used; looking for the receipt"):
                await sender.resume("leg")
        for _ in range(2):
            with pytest.raises(OutcomeUnknown, match=r"by what cannot be looked up: .*missing trie node"):
                await sender.resume("leg")
        assert [str(item).partition(", ")[2].partition(":")[0].partition(" (")[0] for item in told] == [
            "the nonce is used; looking for the receipt",
            "the nonce is used, and by what cannot be looked up",
        ]  # each once
    assert last(journal).state is S.SENT


@pytest.mark.parametrize("kept", [1, 2, 5, 20])
async def test_a_node_that_keeps_few_states_is_asked_no_further_than_it_knows(node, node_url, journal, kept):
    """Growing steps back went past what the node still had, and hid a transaction that it could show."""
    await unsent(node_url, journal)
    await node.request("anvil_mine", ["0x40"])
    await node.request("eth_sendRawTransaction", [foreign_transfer()], send=True)
    await node.request("anvil_mine", [hex(kept)])
    newest = int(await node.request("eth_blockNumber"), 16)

    def before(call):
        of_a_block = call["method"] == "eth_getTransactionCount" and call["params"][1].startswith("0x")
        is_old = of_a_block and int(call["params"][1], 16) < newest - kept - 1
        return error(call, "missing trie node") if is_old else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url, timeout_s=2) as rpc:
        with pytest.raises(InvariantError, match="not ours"):
            await manager(rpc, journal).resume("leg")
    assert hash_of(foreign_transfer(0)) in last(journal).because


async def test_one_that_lies_about_a_block_makes_nothing_lost(node, node_url, journal):
    """What a provider lists in a block is nobody's word but its own; a receipt must be agreed on."""
    listed = {"hash": "0x" + "ab" * 32, "from": ADDRESS.lower(), "nonce": "0x0"}
    block = {}

    def lie(call, reply):
        if call["method"] == "eth_getBlockByNumber" and call["params"][1]:
            block.update(reply["result"])
            return result(call, {**block, "transactions": [listed]})
        if call["method"] == "eth_getTransactionReceipt" and call["params"] == [listed["hash"]]:
            made_up = {"status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x1", "logs": []}
            where = {"blockHash": block["hash"], "blockNumber": block["number"], "from": listed["from"]}
            return result(call, {"transactionHash": listed["hash"], **where, **made_up})
        return no_receipt(call, reply)

    async with Proxy(node_url, after=lie) as liar, Proxy(node_url, after=no_receipt) as slow:
        rpcs = [Rpc(liar.url), Rpc(slow.url.replace("127.0.0.1", "localhost"))]
        async with Providers(rpcs, chain_id=CHAIN_ID, agreement=2, patience_s=0.2) as providers:
            sender = manager(providers, journal, deadline_s=0.5, resume_wait_s=0.0)
            with pytest.raises(OutcomeUnknown):
                await sender.send(request())
            for _ in range(LOOKS + 1):
                with pytest.raises(OutcomeUnknown):
                    await sender.resume("leg")
            assert block
            liar.after = slow.after = None
            assert (await manager(providers, journal).send(request())).succeeded
    assert last(journal).state is S.FINAL
