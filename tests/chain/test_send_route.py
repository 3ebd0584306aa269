"""A private relay on a real node: sends go there alone, reads elsewhere, ambiguous stays so (REL-E14)."""

import asyncio

import pytest
from send_builders import Proxy, chain_time, count, error, leg, manager, nonce, request, result
from send_tools import resumed, until

from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Rpc
from bot.chain.send_errors import SendResult
from bot.chain.send_route import SendRoute
from bot.errors import OutcomeUnknown, VenueRejected
from bot.model.intent import IntentState as S

pytestmark = pytest.mark.devnet


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


@pytest.fixture
async def public(node_url):
    async with Proxy(node_url) as proxy:
        yield proxy


@pytest.fixture
async def relay(node_url):
    """A relay that passes bytes on as long as ``before`` lets it."""
    async with Proxy(node_url) as proxy:
        yield proxy


def _keeps(call):
    """Takes a transaction and tells nobody, as a relay does while no builder wants it."""
    if call["method"] != "eth_sendRawTransaction":
        return None
    return result(call, decode_raw(call["params"][0]).tx_hash)


async def test_sends_go_to_the_relay_alone_and_reads_elsewhere(public, relay, node, journal):
    async with Rpc(public.url) as reads, Rpc(relay.url) as private:
        route = SendRoute(public=reads, private=private)
        assert (await manager(reads, journal, route=route).send(request())).succeeded
    assert public.sends() == []
    assert {call["method"] for call in relay.seen} == {"eth_sendRawTransaction"}
    assert await count(node, 1) == 1


async def test_what_the_relay_does_not_get_mined_is_public_after_so_many_blocks(public, relay, node, journal):
    relay.before = _keeps
    async with Rpc(public.url) as reads, Rpc(relay.url) as private:
        route = SendRoute(public=reads, private=private, public_after_blocks=3)
        task = asyncio.create_task(manager(reads, journal, route=route).send(request()))
        await until(lambda: len(relay.sends()) > 2)
        await node.request("anvil_mine", ["0x2"])
        await asyncio.sleep(0.2)
        assert public.sends() == []
        await node.request("evm_mine")
        assert (await task).succeeded
    assert set(public.sends()) == {relay.sends()[0]}  # the same bytes
    assert len([event for event in journal.intents() if event.raw]) == 1
    assert await count(node, 1) == 1


async def test_without_that_setting_it_waits_and_its_outcome_is_unknown(public, relay, node, journal):
    relay.before = _keeps
    async with Rpc(public.url) as reads, Rpc(relay.url) as private:
        route = SendRoute(public=reads, private=private)
        task = asyncio.create_task(manager(reads, journal, route=route, deadline_s=0.4).send(request()))
        await until(lambda: relay.sends())
        await node.request("anvil_mine", ["0x20"])
        with pytest.raises(OutcomeUnknown):
            await task
    assert public.sends() == []
    assert journal.intents()[-1].state is S.SENT


async def test_a_relay_that_cannot_be_reached_is_no_failure(public, relay, node, journal):
    relay.before = lambda _: Proxy.CUT
    async with Rpc(public.url) as reads, Rpc(relay.url, timeout_s=1) as private:
        route = SendRoute(public=reads, private=private)
        sender = manager(reads, journal, route=route, deadline_s=0.3)
        with pytest.raises(OutcomeUnknown):
            await sender.send(request())
        assert journal.intents()[-1].state is S.SENT
        relay.before = None
        assert (await resumed(sender))["open"].succeeded
    assert (await count(node, 1), await nonce(node)) == (1, 1)


async def test_a_cancel_is_public_at_once(public, relay, node, journal):
    relay.before = _keeps
    until_s = await chain_time(node) + 60
    async with Rpc(public.url) as reads, Rpc(relay.url) as private:
        route = SendRoute(public=reads, private=private)
        task = asyncio.create_task(manager(reads, journal, route=route).send(request(valid_until_s=until_s)))
        await until(lambda: relay.sends())
        await node.request("evm_increaseTime", [120])
        await node.request("evm_mine")
        with pytest.raises(VenueRejected, match="cancelled"):
            await task
    assert [decode_raw(raw).data for raw in public.sends()] == [b""]
    assert (await count(node, 1), await nonce(node)) == (0, 1)


@pytest.mark.parametrize(
    ("one", "other", "meant"),
    [
        ("already known", "nonce too low", SendResult.TAKEN),
        ("nonce too high", "the flux capacitor is empty", SendResult.AMBIGUOUS),
        ("insufficient funds", "nonce too low", SendResult.NONCE_TOO_LOW),
    ],
)
async def test_of_two_answers_the_more_doubtful_counts(public, relay, one, other, meant):
    public.before, relay.before = (lambda call, words=words: error(call, words) for words in (one, other))
    async with Rpc(public.url) as reads, Rpc(relay.url) as private:
        route = SendRoute(public=reads, private=private)
        said = await route.send("0x02", "0x" + "ab" * 32, waited_blocks=0, is_cancel=True)
    assert said.result is meant
