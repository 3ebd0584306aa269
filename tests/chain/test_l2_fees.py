"""What rollups charge besides gas, in every bound on cost (OP stack, Arbitrum).

The predeploys are own references of the documented ABI (tests/contracts), put at their addresses; anvil
itself charges no such fee, so what a receipt says of it is added by a proxy.
"""

import pytest
from reference_contracts import reference_artifact, runtime_code
from send_builders import (
    ADDRESS,
    CHAIN_ID,
    COUNTER,
    FAR_S,
    SELECTOR,
    Proxy,
    count,
    leg,
    manager,
    request,
    result,
)
from send_tools import until_too_dear

from bot.chain.abi import Abi
from bot.chain.chain_traits import FeeParts
from bot.chain.fees import GWEI, FeePolicy, Fees
from bot.chain.l2_fees import GAS_PRICE_ORACLE, NODE_INTERFACE, L1Share, read_share, share_calls
from bot.chain.raw_transaction import decode_raw, unsigned_rlp
from bot.chain.rpc import RevertError, Rpc, quantity
from bot.errors import OutcomeUnknown, TransientError, VenueRejected
from bot.model.intent import TxRequest

pytestmark = pytest.mark.devnet


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


async def _place(node, name: str, address: str, function: str, *values: int) -> None:
    artifact = reference_artifact(name)
    await node.request("anvil_setCode", [address, "0x" + runtime_code(name).hex()])
    await _set(node, address, artifact.abi, function, *values)


async def _set(node, address: str, abi: Abi, function: str, *values: int) -> None:
    data = "0x" + abi.encode(function, *values).hex()
    call = {"from": ADDRESS, "to": address, "data": data, "gas": hex(200_000)}
    await node.request("anvil_impersonateAccount", [ADDRESS])
    await node.request("eth_sendTransaction", [call], send=True)
    await node.request("anvil_stopImpersonatingAccount", [ADDRESS])
    await node.request("evm_mine")


@pytest.fixture
async def optimism(node):
    """An L1 at 20 gwei, and a base fee scalar of 0.1: some 5e12 wei for a small call."""
    await _place(node, "GasPriceOracle", GAS_PRICE_ORACLE, "set_fees", 20 * GWEI, 100_000)
    return node


@pytest.fixture
async def arbitrum(node):
    await _place(node, "NodeInterface", NODE_INTERFACE, "set_prices", 10 * GWEI, GWEI)
    return node


async def _l1_fee(node, wanted: TxRequest) -> int:
    """What the predeploy says of the transaction that was signed."""
    raw = unsigned_rlp(
        chain_id=CHAIN_ID,
        nonce=2**24,
        to=wanted.to,
        data=wanted.data,
        value_wei=wanted.value_wei,
        gas=wanted.gas_ceiling,
        fees=Fees(max_fee_wei=FeePolicy().max_fee_cap_wei, tip_wei=FeePolicy().tip_max_wei),
    )
    call = {"to": GAS_PRICE_ORACLE, "data": "0x" + Abi.load("GasPriceOracle").encode("getL1Fee", raw).hex()}
    return int(await node.request("eth_call", [call]), 16)


async def test_op_the_l1_fee_is_a_part_of_the_gas_bound(optimism, journal):
    share = 2 * await _l1_fee(optimism, request())
    assert 10**12 < share < 10**14
    sender = manager(optimism, journal, fee_parts=FeeParts.OP)
    with pytest.raises(VenueRejected, match="the L1 data fee alone may be"):
        await sender.send(request(max_gas_cost_wei=share))
    with pytest.raises(VenueRejected, match="too dear"):
        await sender.send(request(max_gas_cost_wei=share + 10**9))
    assert journal.intents() == ()
    bound = share + 5 * 10**14
    assert (await sender.send(request(max_gas_cost_wei=bound))).succeeded
    raw = decode_raw(next(event.raw for event in journal.intents() if event.raw))
    assert raw.gas * raw.fees.max_fee_wei + share <= bound


async def test_op_replacements_keep_to_what_l1_left_also_after_a_restart(optimism, journal):
    share = 2 * await _l1_fee(optimism, request())
    bound = share + 5 * 10**14
    await optimism.request("evm_setAutomine", [False])
    first = manager(optimism, journal, fee_parts=FeeParts.OP, deadline_s=0.05)
    with pytest.raises(OutcomeUnknown):
        await first.send(request(max_gas_cost_wei=bound))
    fresh = manager(optimism, journal, fee_parts=FeeParts.OP, bump_after_s=0.01, resume_wait_s=0.5)
    await until_too_dear(fresh)
    raws = [decode_raw(event.raw) for event in journal.intents() if event.raw]
    assert len(raws) > 1
    assert max(raw.gas * raw.fees.max_fee_wei for raw in raws) + share <= bound


async def test_op_the_l1_fee_is_a_part_of_the_money_that_must_be_there(optimism, journal):
    abi = reference_artifact("GasPriceOracle").abi
    await _set(optimism, GAS_PRICE_ORACLE, abi, "set_fees", 20 * GWEI, 1_000_000_000)
    share = 2 * await _l1_fee(optimism, request())
    await optimism.request("anvil_setBalance", [ADDRESS, hex(share)])
    with pytest.raises(VenueRejected, match="gas and value may cost"):
        await manager(optimism, journal, fee_parts=FeeParts.OP).send(request())
    assert journal.intents() == ()
    assert (await manager(optimism, journal, fee_parts=FeeParts.L1).send(request())).succeeded


async def test_op_an_operators_fee_counts_once_its_fork_is_active(optimism):
    inputs = (FeeParts.OP, request())
    options = {"chain_id": CHAIN_ID, "sender": ADDRESS, "policy": FeePolicy(), "block": "latest"}
    before = read_share(FeeParts.OP, await optimism.batch(share_calls(*inputs, **options)))
    abi = reference_artifact("GasPriceOracle").abi
    await _set(optimism, GAS_PRICE_ORACLE, abi, "set_operator", 2_000_000, 77)
    after = read_share(FeeParts.OP, await optimism.batch(share_calls(*inputs, **options)))
    assert after.fee_wei - before.fee_wei == 2 * request().gas_ceiling + 77


async def test_op_a_cost_that_cannot_be_read_is_not_taken_for_none(node, journal):
    with pytest.raises(TransientError, match="L1 share of the cost cannot be read: getL1Fee answered with 0"):
        await manager(node, journal, fee_parts=FeeParts.OP).send(request())
    assert journal.intents() == ()


@pytest.mark.parametrize(("parts", "booked"), [(FeeParts.OP, 7 * 10**12), (FeeParts.L1, 0)])
async def test_the_fee_that_a_receipt_says_l1_took_is_booked_where_l1_takes_one(
    optimism, node_url, journal, parts, booked
):
    """Elsewhere a node that names one lies: it would stand in the books, and in the budget of a year."""

    def after(call, reply):
        if call["method"] == "eth_getTransactionReceipt" and reply["result"]:
            return result(call, {**reply["result"], "l1Fee": hex(7 * 10**12)})
        return None

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url) as rpc:
        receipt = await manager(rpc, journal, fee_parts=parts).send(request())
    raw = await optimism.request("eth_getTransactionReceipt", [receipt.tx_hash])
    price_wei = quantity(raw["effectiveGasPrice"])
    assert receipt.gas_cost_wei == receipt.gas_used * price_wei + booked


async def test_arbitrum_the_l1_share_is_gas_on_top_of_the_ceiling(arbitrum, node_url, journal):
    """The estimate of a real node holds the share; anvil's does not, so the proxy adds it."""
    units = (len(request().data) + 140) * 16 * 10

    def after(call, reply):
        if call["method"] == "eth_estimateGas" and "result" in reply:
            return result(call, hex(int(reply["result"], 16) + units))
        return None

    async with Proxy(node_url, after=after) as proxy, Rpc(proxy.url) as rpc:
        sender = manager(rpc, journal, fee_parts=FeeParts.ARBITRUM)
        assert (await sender.send(request())).succeeded
        call = {"from": ADDRESS, "to": COUNTER, "data": "0x" + request(2).data.hex()}
        own = quantity(await arbitrum.request("eth_estimateGas", [call]))
        raw = decode_raw(next(event.raw for event in journal.intents() if event.raw))
        assert raw.gas == own * 5 // 4 + 2 * units
        tight = request(2, gas_ceiling=own, max_gas_cost_wei=0)
        assert (await sender.send(tight)).succeeded  # the ceiling bounds the call, not what L1 takes
        with pytest.raises(VenueRejected, match=f"needs {own} gas"):
            await sender.send(request(3, gas_ceiling=own - 1))
    assert await count(arbitrum, 1) == 1


async def test_arbitrum_the_share_is_in_the_bound_on_the_whole_cost(arbitrum, journal):
    sender = manager(arbitrum, journal, fee_parts=FeeParts.ARBITRUM)
    with pytest.raises(VenueRejected, match="too dear"):
        await sender.send(request(max_gas_cost_wei=40_000 * GWEI))
    assert (await sender.send(request(max_gas_cost_wei=600_000 * GWEI))).succeeded
    raw = decode_raw(next(event.raw for event in journal.intents() if event.raw))
    assert raw.gas * raw.fees.max_fee_wei <= 600_000 * GWEI


def test_an_unsigned_transaction_is_what_the_signature_is_over():
    raw = unsigned_rlp(
        chain_id=10,
        nonce=1,
        to=COUNTER,
        data=SELECTOR,
        value_wei=3,
        gas=21_000,
        fees=Fees(max_fee_wei=9, tip_wei=2),
    )
    body = "0a01020982520894" + COUNTER[2:] + "0384" + SELECTOR.hex() + "c0"
    assert raw.hex() == "02" + hex(0xC0 + len(body) // 2)[2:] + body


def test_l1_takes_nothing_on_l1():
    wanted = TxRequest(
        key="k", leg_key="l", purpose="p", to=COUNTER, data=b"", valid_until_s=FAR_S, gas_ceiling=1
    )
    options = {"chain_id": 1, "sender": ADDRESS, "policy": FeePolicy(), "block": "latest"}
    assert share_calls(FeeParts.L1, wanted, **options) == []
    assert read_share(FeeParts.L1, []) == L1Share(0, 0, 0)


@pytest.mark.parametrize("reply", ["0x", "0x1234", RevertError(3, "no", b"")])
def test_an_answer_that_says_nothing_is_refused(reply):
    with pytest.raises(TransientError, match="gasEstimateL1Component"):
        read_share(FeeParts.ARBITRUM, [reply])
