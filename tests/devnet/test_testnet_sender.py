"""Deploying on a chain that behaves like a public one: one nonce per step, the same bytes after every kill.

Rows of reliability.md: REL-E3, E4, E6, E7 (fees), E8, E10 (reorganisation), E13, E15, T7, K1-K9.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from testnet_chain import SEPOLIA, PublicChain, public_chain

from bot.chain.fees import GWEI, FeePolicy, Fees
from bot.chain.raw_transaction import decode_raw
from bot.chain.rpc import Rpc, quantity
from bot.chain.signing.keys import LocalKey
from bot.devnet.deploy_bench import Bench
from bot.devnet.packages import fetch
from bot.devnet.testnet_key import DeployKey
from bot.devnet.testnet_log import Begin, DeployLog, Lost, Signed
from bot.devnet.testnet_sender import Pace, Sender
from bot.devnet.testnet_view import DeployView, created_address
from bot.errors import ConfigError, InvariantError, OutcomeUnknown, TransientError, VenueRejected

pytestmark = [pytest.mark.devnet, pytest.mark.xdist_group("testnet-sender")]  # one chain for the module

PACE = Pace(poll_s=0.02, resend_after_s=0.3, bump_after_s=30.0, deadline_s=20.0)
TOKEN = "TestERC20SetDecimals"
SOMEBODY = "0x" + "11" * 20
_SEEDS = iter(range(1_000, 2_000))  # an account of its own for every test


class Killed(BaseException):
    """Ends a run where a SIGKILL would."""


class FaultyNode(Rpc):
    """A node whose sends can fail after the node has taken them, or never reach it."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout_s=10)
        self.sent: list[str] = []
        self.on_send: Any = None  # async callable(raw, pass_on) -> result; raises what the caller sees

    async def request(self, method: str, params: Any = (), *, send: bool = False) -> Any:
        async def pass_on() -> Any:
            return await super(FaultyNode, self).request(method, params, send=send)

        if not send:
            return await pass_on()
        self.sent.append(params[0])
        return await (self.on_send(params[0], pass_on) if self.on_send else pass_on())


@dataclass
class Desk:
    """One account on the chain, and what deploys with it."""

    chain: PublicChain
    node: FaultyNode
    key: DeployKey
    path: Path
    library: Any
    ended: list[str] = field(default_factory=list)

    @property
    def view(self) -> DeployView:
        return DeployView(self.node, self.key.address)

    async def begin(self, **options: Any) -> tuple[Bench, DeployLog]:
        """Open the log as a new process would, and everything on it."""
        log = DeployLog.open(self.path)
        try:
            return await self.begin_on(log, **options), log
        except BaseException:
            log.close()
            raise

    async def begin_on(self, log: DeployLog, **options: Any) -> Bench:
        if log.begin is None:
            first = await self.view.nonce("latest")
            genesis = await self.view.genesis()
            log.append(
                Begin(
                    chain_id=SEPOLIA, genesis=genesis, sender=self.key.address, first_nonce=first, inputs={}
                )
            )
        settings: dict[str, Any] = {"chain_id": SEPOLIA, "fees": FeePolicy(), "pace": PACE}
        sender = Sender(
            self.node, self.key, log,
            on_step=lambda signed, _: self.ended.append(signed.step), **settings | options,
        )  # fmt: skip
        await sender.begin_run("deploy")
        return Bench(self.node, self.library, (self.key.address,), writer=sender)

    async def deploy(self, **options: Any) -> str:
        """Run the whole script of these tests: three steps. Returns the token's address."""
        bench, log = await self.begin(**options)
        with log:
            token = await bench.deploy(TOKEN, "Coin", "COIN", 6)
            await token.send("permitMint", self.key.address, True)
            await token.send("mint", self.key.address, 77)
            return token.address

    async def supply(self, token: str) -> int:
        return await Bench(self.node, self.library, (self.key.address,)).at(TOKEN, token).call("totalSupply")


@pytest.fixture(scope="module")
def chain(cache_dir: Path) -> Iterator[PublicChain]:
    with public_chain(cache_dir, block_s=0.05) as running:
        yield running


@pytest.fixture
async def desk(chain: PublicChain, tmp_path: Path, cache_dir: Path) -> AsyncIterator[Desk]:
    key = LocalKey(next(_SEEDS).to_bytes(32, "big"))
    await chain.fund(key.address, 1.0)
    async with FaultyNode(chain.rpc_url) as node:
        yield Desk(
            chain=chain,
            node=node,
            key=DeployKey(key, chain_ids=frozenset({SEPOLIA})),
            path=tmp_path / "log.jsonl",
            library=await asyncio.to_thread(fetch, cache_dir),
        )


async def test_a_script_is_sent_once_however_often_it_runs(desk: Desk) -> None:
    first = await desk.deploy()
    sent = list(desk.node.sent)
    assert desk.ended == ["deploy/0", "deploy/1", "deploy/2"]
    assert await desk.deploy() == first == created_address(desk.key.address, 0)
    assert desk.node.sent == sent
    assert await desk.view.nonce("latest") == 3
    assert await desk.supply(first) == 77


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("moment", ["before the line", "after the line", "before the send", "after the send"])
async def test_killed_anywhere_it_goes_on_with_the_same_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: int, moment: str
) -> None:
    append, count = DeployLog.append, {"lines": 0, "sends": 0}

    def killing(log: DeployLog, record: Any) -> None:
        if isinstance(record, Signed):
            count["lines"] += 1
        hit = isinstance(record, Signed) and count["lines"] == step + 1
        if hit and moment == "before the line":
            raise Killed
        append(log, record)
        if hit and moment == "after the line":
            raise Killed

    async def killing_send(raw: str, pass_on: Any) -> Any:
        count["sends"] += 1
        hit = count["sends"] == step + 1
        if hit and moment == "before the send":
            raise Killed
        answer = await pass_on()
        if hit and moment == "after the send":
            raise Killed
        return answer

    monkeypatch.setattr(DeployLog, "append", killing)
    desk.node.on_send = killing_send
    with pytest.raises(Killed):
        await desk.deploy()
    monkeypatch.undo()
    desk.node.on_send = None
    with DeployLog.open(desk.path) as log:
        known = {item.nonce: item.raw for item in log.signed()}
    token = await desk.deploy()
    with DeployLog.open(desk.path) as log:
        assert {item.nonce: item.raw for item in log.signed()} | known == {
            item.nonce: item.raw for item in log.signed()
        }
        assert [item.nonce for item in log.signed()] == [0, 1, 2]
    assert await desk.view.nonce("latest") == 3
    assert await desk.supply(token) == 77


async def test_an_answer_that_is_lost_is_no_second_transaction(desk: Desk) -> None:
    async def lost(raw: str, pass_on: Any) -> Any:
        await pass_on()
        raise TransientError("connection reset")  # the node has it, we do not know

    desk.node.on_send = lost
    token = await desk.deploy()
    assert await desk.supply(token) == 77
    assert await desk.view.nonce("latest") == 3


async def test_a_transaction_that_the_node_forgot_goes_out_again_as_it_was(desk: Desk) -> None:
    seen: list[str] = []

    async def dropped(raw: str, pass_on: Any) -> Any:
        seen.append(raw)
        return decode_raw(raw).tx_hash if seen.count(raw) == 1 else await pass_on()

    desk.node.on_send = dropped
    token = await desk.deploy(pace=replace(PACE, resend_after_s=1.5))  # in which what it has is mined
    assert await desk.supply(token) == 77
    assert len(set(seen)) == 3
    assert len(seen) == 6


async def test_a_fee_that_is_too_low_is_raised_at_the_same_nonce(desk: Desk) -> None:
    """REL-E6: both fields rise by an eighth at least, and the receipt of any attempt counts."""
    held: list[str] = []

    async def ignored(raw: str, pass_on: Any) -> Any:
        if len({*held, raw}) < 3:  # the pool does not take the first two attempts
            held.append(raw)
            return decode_raw(raw).tx_hash
        return await pass_on()

    desk.node.on_send = ignored
    pace = Pace(poll_s=0.02, resend_after_s=0.1, bump_after_s=0.3, deadline_s=20.0)
    bench, log = await desk.begin(pace=pace)
    with log:
        await bench.deploy(TOKEN, "Coin", "COIN", 6)
        attempts = [decode_raw(item.raw) for item in log.attempts("deploy/0")]
    assert {item.nonce for item in attempts} == {0}
    assert len({item.data for item in attempts}) == 1
    assert len(attempts) >= 3
    for old, new in pairwise(attempts):
        assert new.fees.max_fee_wei * 8 >= old.fees.max_fee_wei * 9
        assert new.fees.tip_wei * 8 >= old.fees.tip_wei * 9
    assert await desk.view.nonce("latest") == 1


async def test_the_fee_cap_holds_and_the_outcome_is_unknown_not_failed(desk: Desk) -> None:
    async def ignored(raw: str, pass_on: Any) -> Any:
        return decode_raw(raw).tx_hash

    desk.node.on_send = ignored
    fees = FeePolicy(max_fee_cap_wei=5 * GWEI)
    pace = Pace(poll_s=0.02, resend_after_s=0.05, bump_after_s=0.05, deadline_s=1.0)
    with pytest.raises(OutcomeUnknown, match="run the same command again"):
        await desk.deploy(fees=fees, pace=pace)
    with DeployLog.open(desk.path) as log:
        attempts = [decode_raw(item.raw) for item in log.attempts("deploy/0")]
    assert len(attempts) > 1
    assert max(item.fees.max_fee_wei for item in attempts) <= 5 * GWEI
    desk.node.on_send = None
    token = await desk.deploy(fees=fees)
    assert await desk.supply(token) == 77


async def test_gas_over_the_cap_is_not_paid(desk: Desk) -> None:
    with pytest.raises(VenueRejected, match="gas is too dear"):
        await desk.deploy(fees=FeePolicy(tip_min_wei=1, tip_max_wei=1, max_fee_cap_wei=2))
    assert desk.node.sent == []


async def test_money_that_is_missing_is_told_and_nothing_is_signed(desk: Desk) -> None:
    """REL-E15, T9."""
    await desk.chain.fund(desk.key.address, 0.000001)
    with pytest.raises(VenueRejected, match=r"creation of TestERC20SetDecimals may cost .* send it .* more"):
        await desk.deploy()
    with DeployLog.open(desk.path) as log:
        assert log.steps == []
    await desk.chain.fund(desk.key.address, 1.0)
    assert await desk.supply(await desk.deploy()) == 77


async def test_what_would_revert_is_not_sent(desk: Desk) -> None:
    """REL-E13."""
    bench, log = await desk.begin()
    with log:
        token = await bench.deploy(TOKEN, "Coin", "COIN", 6)
        with pytest.raises(
            VenueRejected, match=r"TestERC20SetDecimals\.transfer: .*exceeds balance.*nothing was"
        ):
            await token.send("transfer", SOMEBODY, 1)
        assert log.steps == ["deploy/0"]


async def test_what_was_mined_without_effect_is_done_again_at_a_new_nonce(desk: Desk) -> None:
    """REL-T5: between simulation and block the world changed. Only the receipt says that it failed."""

    async def emptied(raw: str, pass_on: Any) -> Any:
        await _set_balance(desk, 0)
        return await pass_on()

    async def script() -> None:
        bench, log = await desk.begin()
        with log:
            token = await bench.deploy(TOKEN, "Coin", "COIN", 6)
            await token.send("permitMint", desk.key.address, True)
            await token.send("mint", desk.key.address, 10)
            desk.node.on_send = emptied if desk.ended[-1] == "deploy/2" and not failed else None
            await token.send("transfer", SOMEBODY, 10)
            assert [item.nonce for item in log.signed()] == [0, 1, 2, 3, 4]
            assert await token.call("balanceOf", SOMEBODY) == 10

    failed = False
    with pytest.raises(VenueRejected, match="mined without effect"):
        await script()
    failed, desk.node.on_send = True, None
    await _set_balance(desk, 10)
    await script()


async def _set_balance(desk: Desk, raw: int) -> None:
    """Change what the deployer holds of the token at nonce 0; ERC20 keeps balances in its first mapping."""
    slot = "0x" + keccak(encode(["address", "uint256"], [desk.key.address, 0])).hex()
    token = created_address(desk.key.address, 0)
    await desk.chain.ask("anvil_setStorageAt", token, slot, "0x" + raw.to_bytes(32, "big").hex())


async def test_a_nonce_that_somebody_else_used_stops_until_a_person_knows_it(desk: Desk) -> None:
    """REL-T7, E8."""

    async def overtaken(raw: str, pass_on: Any) -> Any:
        await _foreign(desk)
        return decode_raw(raw).tx_hash  # ours never reaches the pool

    desk.node.on_send = overtaken
    with pytest.raises(
        InvariantError, match=r"nonce 0 .* was used by a transaction that is not in .*--accept-nonce 1"
    ):
        await desk.deploy()
    desk.node.on_send = None
    with pytest.raises(InvariantError, match="--accept-nonce 1"):
        await desk.deploy()
    token = await desk.deploy(accept_nonce=1)
    assert token == created_address(desk.key.address, 1)
    assert await desk.supply(token) == 77
    with DeployLog.open(desk.path) as log:
        assert [item.nonce for item in log.signed()] == [0, 1, 2, 3]
        assert any(isinstance(item, Lost) for item in log._records)
    assert await desk.deploy(accept_nonce=1) == token


async def _foreign(desk: Desk) -> None:
    """Use the account's next nonce for something else, as another program with the same key would."""
    nonce = await desk.view.nonce("latest")
    fees = Fees(max_fee_wei=20 * GWEI, tip_wei=GWEI)
    signed = desk.key.sign(
        chain_id=SEPOLIA, nonce=nonce, to=SOMEBODY, data=b"", value_wei=1, gas=21_000, fees=fees
    )
    await desk.chain.ask("eth_sendRawTransaction", signed.raw, send=True)
    for _ in range(200):
        if await desk.view.nonce("latest") > nonce:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the stranger's transaction was not mined")


async def test_a_key_that_was_used_elsewhere_in_between_stops(desk: Desk) -> None:
    bench, log = await desk.begin()
    with log:
        await bench.deploy(TOKEN, "Coin", "COIN", 6)
    await _foreign(desk)
    with pytest.raises(InvariantError, match=r"nonces 1 to 1 that are not in .*--accept-nonce 2"):
        await desk.deploy()
    assert await desk.supply(await desk.deploy(accept_nonce=2)) == 77


async def test_an_older_copy_of_the_state_file_does_not_deploy_twice(desk: Desk) -> None:
    _, log = await desk.begin()
    log.close()
    old = desk.path.read_bytes()
    token = await desk.deploy()
    desk.path.write_bytes(old)
    with pytest.raises(InvariantError, match=f"made a contract at {token} .was an older copy"):
        await desk.deploy()
    assert await desk.view.nonce("latest") == 3


async def test_a_reorganisation_is_mended_with_the_same_bytes(desk: Desk) -> None:
    """REL-E10: the blocks go, anvil does not put their transactions back, and nothing is signed anew."""
    token = await desk.deploy()
    with DeployLog.open(desk.path) as log:
        signed = [item.raw for item in log.signed()]
    await desk.chain.ask("evm_setIntervalMining", 0)
    head = quantity(await desk.chain.ask("eth_blockNumber"))
    first = quantity(
        (await desk.node.read("eth_getTransactionReceipt", [decode_raw(signed[1]).tx_hash]))["blockNumber"]
    )
    await desk.chain.ask("anvil_reorg", head - first + 1, [])
    await desk.chain.ask("evm_setIntervalMining", 1)
    assert await desk.view.nonce("latest") == 1
    assert await desk.deploy(pace=Pace(poll_s=0.1, resend_after_s=0.5)) == token
    with DeployLog.open(desk.path) as log:
        assert [item.raw for item in log.signed()] == signed
    assert await desk.supply(token) == 77


async def test_another_chain_of_the_same_id_is_not_taken_for_ours(desk: Desk, cache_dir: Path) -> None:
    await desk.deploy()
    with public_chain(cache_dir, block_s=0.05, behind_s=100) as other:
        async with FaultyNode(other.rpc_url) as node:
            desk.node = node
            with pytest.raises(ConfigError, match="first block differs"):
                await desk.deploy()
    with public_chain(cache_dir, chain_id=17000) as other:
        async with FaultyNode(other.rpc_url) as node:
            desk.node = node
            with pytest.raises(ConfigError, match="the node serves chain 17000"):
                await desk.deploy()


async def test_another_key_does_not_go_on(desk: Desk) -> None:
    await desk.deploy()
    desk.key = DeployKey(LocalKey(next(_SEEDS).to_bytes(32, "big")), chain_ids=frozenset({SEPOLIA}))
    with pytest.raises(ConfigError, match="was begun by"):
        await desk.deploy()


async def test_another_script_does_not_go_on(desk: Desk) -> None:
    await desk.deploy()
    bench, log = await desk.begin()
    with log, pytest.raises(ConfigError, match=r"deploy/0 of .* is another transaction than creation of"):
        await bench.deploy(TOKEN, "Coin", "COIN", 18)


async def test_bytes_in_the_file_that_are_not_ours_are_never_sent(desk: Desk) -> None:
    """A line with a right digest and a stranger's bytes: what is signed is decoded before it goes out."""
    stranger = DeployKey(LocalKey(next(_SEEDS).to_bytes(32, "big")), chain_ids=frozenset({SEPOLIA}))
    signed = stranger.sign(
        chain_id=SEPOLIA,
        nonce=0,
        to="0x",
        data=b"\x00",
        value_wei=0,
        gas=60_000,
        fees=Fees(max_fee_wei=9, tip_wei=1),
    )
    _, log = await desk.begin()
    with log:
        log.append(Signed(step="deploy/0", what="x", nonce=0, raw=signed.raw, tx_hash=signed.tx_hash))
    with pytest.raises(InvariantError, match="holds bytes of"):
        await desk.deploy()
    assert desk.node.sent == []


async def test_a_key_signs_for_test_chains_only(desk: Desk) -> None:
    fees = Fees(max_fee_wei=1, tip_wei=1)
    with pytest.raises(InvariantError, match="does not sign for chain 1"):
        desk.key.sign(chain_id=1, nonce=0, to="0x", data=b"", value_wei=0, gas=1, fees=fees)


async def test_what_no_block_can_hold_is_refused_before_it_is_signed(desk: Desk, cache_dir: Path) -> None:
    with public_chain(cache_dir, block_s=0.05, gas_limit=900_000) as small:
        await small.fund(desk.key.address, 1.0)
        async with FaultyNode(small.rpc_url) as node:
            desk.node, desk.chain = node, small
            with pytest.raises(ConfigError, match="creation of TestERC20SetDecimals needs more gas than"):
                await desk.deploy()
            assert node.sent == []
