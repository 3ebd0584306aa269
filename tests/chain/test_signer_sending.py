"""Sending through a signer that dies, hangs or lies: nothing bad goes out, nothing is lost (REL-K16)."""

import pytest
from send_builders import ADDRESS, COUNTER_CODE, Proxy, count, leg, manager, request
from signer_process import SOCKET, signer_process

from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Rpc
from bot.chain.send_state import fold
from bot.chain.signer_client import SignerClient
from bot.errors import BotError
from bot.model.intent import IntentState as S

pytestmark = pytest.mark.devnet


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


@pytest.mark.parametrize(
    "fault",
    [{"die": "persist"}, {"lie": "hang"}, {"lie": "other key"}, {"lie": "other message"}, {"lie": "zeros"}],
    ids=lambda fault: "-".join(*fault.items()),
)
async def test_no_answer_or_a_false_one_sends_nothing_and_costs_a_nonce(
    node, node_url, journal, tmp_path, fault
):
    """The signer may have signed what never arrived: its nonce is used up by a transfer of nothing."""
    async with Proxy(node_url) as proxy, Rpc(proxy.url) as rpc:
        with signer_process(tmp_path, **fault):
            bad = SignerClient(tmp_path / SOCKET, address=ADDRESS, who="a test", timeout_s=2.0)
            with pytest.raises(BotError):
                await manager(rpc, journal, signer=bad).send(request(1))
            await bad.close()
        assert proxy.sends() == []
        (intent,) = fold(journal.intents()).values()
        assert intent.state is S.RESERVED
        with signer_process(tmp_path):
            good = SignerClient(tmp_path / SOCKET, address=ADDRESS, who="a test")
            sender = manager(rpc, journal, signer=good)
            receipts = await sender.resume("leg")
            assert set(receipts) == {"open-cancelled"}
            assert (await sender.send(request(2))).succeeded
            await good.close()
        assert [decode_raw(raw).sender for raw in proxy.sends()] == [ADDRESS.lower()] * 2
    assert [item.state for item in fold(journal.intents()).values()] == [S.CANCELLED, S.FINAL]
    assert (await count(node, 1), await count(node, 2)) == (0, 1)


async def test_a_refusal_releases_the_nonce(node, journal, tmp_path):
    with signer_process(tmp_path):
        one = SignerClient(tmp_path / SOCKET, address=ADDRESS, who="a test")
        sender = manager(node, journal, signer=one)
        stranger = "0x" + "12" * 20
        await node.request("anvil_setCode", [stranger, COUNTER_CODE])
        with pytest.raises(BotError, match=r"signer: .* allow-list"):
            await sender.send(request(1, to=stranger))
        assert (await sender.send(request(2))).succeeded
        await one.close()
    assert [item.state for item in fold(journal.intents()).values()] == [S.RELEASED, S.FINAL]


async def test_no_signer_at_all_releases_the_nonce(node, journal, tmp_path):
    absent = SignerClient(tmp_path / SOCKET, address=ADDRESS, who="a test")
    with pytest.raises(BotError, match="start one with: alvh signer"):
        await manager(node, journal, signer=absent).send(request(1))
    with signer_process(tmp_path):
        assert (await manager(node, journal, signer=absent).send(request(2))).succeeded
        await absent.close()
