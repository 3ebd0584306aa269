"""alvh safe on a real 2-of-3 Safe: what is shown, and who may sign, reject and execute it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from commands import KEYSTORE_ROUNDS, Home
from eth_account import Account
from eth_account.signers.local import LocalAccount
from safe_builders import OWNERS, STRANGER, SafeWorld, make_safe, signature

from bot.app.safe import control_of
from bot.app.safe_owners import Owners, open_owners
from bot.chain.abi import Abi
from bot.chain.pause import read_pause
from bot.chain.rpc import Rpc
from bot.chain.safe import SafeTx, is_rejection
from bot.chain.safe_batch import InnerCall, batch_tx
from bot.chain.safe_proposal import Proposal, proposal_of
from bot.chain.safe_queue import SafeQueue
from bot.cli import main
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.errors import ConfigError, InvariantError, NotFoundError, VenueRejected
from bot.settings import Settings, load_settings

pytestmark = pytest.mark.devnet
ERC20, SAFE = Abi.load("ERC20"), Abi.load("Safe")
PASSWORD = "a long password of an owner"
_T = TypeVar("_T")


@dataclass
class Desk:
    """The Safe, its configuration, and keystores of its owners and of a stranger."""

    world: SafeWorld
    home: Home
    keystores: dict[str, Path]

    @property
    def settings(self) -> Settings:
        return load_settings(self.home.config)

    def queue(self) -> SafeQueue:
        folder = self.settings.state_dir / "safe-queue"
        return SafeQueue(folder, chain_id=CHAIN_ID, safe=self.world.address)

    async def propose(self, *calls: InnerCall, by: LocalAccount = OWNERS[0], nonce: int = 0) -> Proposal:
        tx = batch_tx(calls or self.purchase(), multi_send=self.world.multi_send, nonce=nonce)
        return await self.leave(tx, by)

    async def leave(self, tx: SafeTx, by: LocalAccount = OWNERS[0]) -> Proposal:
        found = proposal_of(tx, chain_id=CHAIN_ID, safe=self.world.address, origin="order plan/0")
        found = replace(found, signatures={by.address: signature(by, found.digest)})
        await self.queue().put(found)
        return found

    def purchase(self) -> tuple[InnerCall, ...]:
        """Give the router 25 USDC and take the right back: what every plan holds."""
        at = self.world.at
        return tuple(
            InnerCall(to=at.usdc, data=ERC20.encode("approve", at.v3_router, raw)) for raw in (25_000_000, 0)
        )

    async def do(self, what: Callable[[Owners], Awaitable[_T]]) -> _T:
        async with open_owners(self.settings) as owners:
            return await what(owners)

    def key(self, owner: LocalAccount) -> dict[str, Any]:
        return {
            "owner": owner.address,
            "keystore": self.keystores[owner.address],
            "password": PASSWORD,
        }


@pytest.fixture(scope="session")
def keystores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("owners"), {}
    for who in (*OWNERS, STRANGER):
        path = folder / f"{who.address}.json"
        fields = Account.encrypt(who.key, PASSWORD, kdf="pbkdf2", iterations=KEYSTORE_ROUNDS)
        path.write_text(json.dumps(fields))
        path.chmod(0o600)
        found[who.address] = path
    return found


@pytest.fixture
async def desk(devnet: Devnet, rpc: Rpc, cache_dir: Path, home: Home, keystores: dict[str, Path]) -> Desk:
    world = await make_safe(rpc, cache_dir, devnet.deployment)
    with home.config.open("a") as file:
        file.write(f'\n[safe]\naddress = "{world.address}"\nmulti_send = "{world.multi_send}"\n')
    for owner in OWNERS:
        await rpc.request("anvil_setBalance", [owner.address, hex(10**18)])
    return Desk(world, home, keystores)


async def test_a_proposal_is_shown_with_its_calls_and_its_bound(desk: Desk) -> None:
    proposal = await desk.propose()
    look = await desk.do(lambda owners: owners.look())
    (shown,) = look.shown
    assert shown.proposal == proposal
    assert set(shown.gathered.signatures) == {OWNERS[0].address}
    assert [call.is_allowed for call in shown.calls] == [True, True]
    assert "may take 25.000000 USDC" in shown.calls[0].words
    assert "may take nothing any more" in shown.calls[1].words
    assert (shown.problem, shown.would_fail, shown.is_rejection) == ("", "", False)


async def test_two_owners_sign_and_a_third_executes(desk: Desk) -> None:
    """Each by an own keystore, through the signer's rules; executed from the owner's own account."""
    proposal = await desk.propose()
    with pytest.raises(VenueRejected, match="1 of 2 signatures"):
        await desk.do(lambda owners: owners.execute(proposal.tx_hash, **desk.key(OWNERS[2])))
    shown = await desk.do(lambda owners: owners.sign(proposal.tx_hash, **desk.key(OWNERS[1])))
    assert set(shown.gathered.signatures) == {OWNERS[0].address, OWNERS[1].address}
    executed = await desk.do(lambda owners: owners.execute(proposal.tx_hash, **desk.key(OWNERS[2])))
    assert executed.tx_hash == proposal.tx_hash
    assert (await desk.world.state()).nonce == 1
    assert (await desk.do(lambda owners: owners.look())).shown == ()
    with pytest.raises(NotFoundError, match="was used"):
        await desk.do(lambda owners: owners.sign(proposal.tx_hash, **desk.key(OWNERS[2])))


async def test_a_rejection_takes_its_place(desk: Desk) -> None:
    proposal = await desk.propose()
    shown = await desk.do(lambda owners: owners.reject(proposal.tx_hash, **desk.key(OWNERS[1])))
    assert shown.is_rejection
    assert is_rejection(shown.proposal.tx, desk.world.address)
    assert shown.proposal.tx.nonce == proposal.tx.nonce
    void = shown.proposal.tx_hash
    await desk.do(lambda owners: owners.sign(void, **desk.key(OWNERS[2])))
    await desk.do(lambda owners: owners.execute(void, **desk.key(OWNERS[2])))
    assert await desk.queue().waiting(from_nonce=(await desk.world.state()).nonce) == ()


async def test_what_no_venue_asks_for_is_marked_and_not_signed(desk: Desk) -> None:
    """A transfer out, a standing allowance, a stranger's spender, another delegate call, the Safe itself."""
    at, out = desk.world.at, STRANGER.address
    hostile = {
        "transfer": [InnerCall(to=at.usdc, data=ERC20.encode("transfer", out, 1))],
        "unlimited": [InnerCall(to=at.usdc, data=ERC20.encode("approve", at.v3_router, 2**256 - 1))],
        "spender": [InnerCall(to=at.usdc, data=ERC20.encode("approve", out, 1))],
        "coin": [InnerCall(to=out, data=b"", value_wei=1)],
        "owner": [InnerCall(to=desk.world.address, data=SAFE.encode("changeThreshold", 1))],
        "unknown": [InnerCall(to=out, data=b"\x12\x34\x56\x78")],
    }
    for name, calls in hostile.items():
        proposal = await desk.propose(*calls)
        with pytest.raises(InvariantError):
            await desk.do(lambda owners, at=proposal: owners.sign(at.tx_hash, **desk.key(OWNERS[1])))
        shown = {item.proposal.tx_hash: item for item in (await desk.do(lambda o: o.look())).shown}
        assert "no configured venue asks for" in shown[proposal.tx_hash].problem, name
    for tx in (
        replace(proposal.tx, to=at.usdc),
        replace(proposal.tx, safe_tx_gas=100_000, data=(await desk.propose()).tx.data),
    ):
        left = await desk.leave(tx)
        shown = {item.proposal.tx_hash: item for item in (await desk.do(lambda o: o.look())).shown}
        assert shown[left.tx_hash].problem
        with pytest.raises(InvariantError):
            await desk.do(lambda owners, at=left: owners.sign(at.tx_hash, **desk.key(OWNERS[1])))
    assert (await desk.world.state()).nonce == 0


async def test_only_owners_sign_and_the_bots_account_executes_by_itself(desk: Desk) -> None:
    proposal = await desk.propose()
    with pytest.raises(VenueRejected, match="is no owner of Safe"):
        await desk.do(lambda owners: owners.sign(proposal.tx_hash, **desk.key(STRANGER)))
    own = {**desk.key(OWNERS[0]), "owner": desk.settings.account.address}  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="the bot's own account"):
        await desk.do(lambda owners: owners.execute(proposal.tx_hash, **own))
    with pytest.raises(NotFoundError, match="no proposal 0x1212"):
        await desk.do(lambda owners: owners.sign("0x" + "12" * 32, **desk.key(OWNERS[1])))
    wrong = {**desk.key(OWNERS[1]), "password": "wrong"}
    with pytest.raises(ConfigError, match="cannot be opened with this password"):
        await desk.do(lambda owners: owners.sign(proposal.tx_hash, **wrong))


async def test_while_paused_owners_still_revoke_and_reject(desk: Desk) -> None:
    """The pause binds an owner's signature here as it binds the bot's."""
    await desk.do(lambda owners: owners.look())
    control_of(desk.settings).check(await desk.world.state())
    changed = replace(await desk.world.state(), threshold=1)
    assert "threshold was 2, is 1" in control_of(desk.settings).check(changed)
    assert "threshold was 2, is 1" in str(read_pause(desk.settings.state_dir))
    proposal = await desk.propose()
    with pytest.raises(VenueRejected, match="nothing that opens is signed"):
        await desk.do(lambda owners: owners.sign(proposal.tx_hash, **desk.key(OWNERS[1])))
    revocation = await desk.propose(desk.purchase()[1])
    await desk.do(lambda owners: owners.sign(revocation.tx_hash, **desk.key(OWNERS[1])))
    await desk.do(lambda owners: owners.reject(proposal.tx_hash, **desk.key(OWNERS[1])))


async def test_a_proposal_that_would_fail_now_is_not_executed(desk: Desk) -> None:
    """It has its signatures; the token refuses."""
    at = desk.world.at
    bad = InnerCall(to=at.v3_router, data=b"\x00\x00\x00\x01")
    proposal = await desk.propose(bad)
    await desk.queue().sign(proposal.tx_hash, OWNERS[1].address, signature(OWNERS[1], proposal.digest))
    look = await desk.do(lambda owners: owners.look())
    assert "GS013" in look.shown[0].would_fail
    with pytest.raises(VenueRejected, match="not executed"):
        await desk.do(lambda owners: owners.execute(proposal.tx_hash, **desk.key(OWNERS[2])))


def test_without_a_safe_the_commands_say_what_to_add(home: Home) -> None:
    async def look() -> None:
        async with open_owners(load_settings(home.config)):
            pass

    with pytest.raises(ConfigError, match=r"add \[safe\] with address and multi_send"):
        asyncio.run(look())


def test_the_commands(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line: list, sign, reject, execute."""
    monkeypatch.setenv("ALVH_KEYSTORE_PASSWORD", PASSWORD)
    proposal = asyncio.run(desk.propose())

    def alvh(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["safe", *arguments, "--config", str(desk.home.config)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    def as_owner(owner: LocalAccount) -> tuple[str, ...]:
        return ("--owner", owner.address, "--keystore", str(desk.keystores[owner.address]))

    code, text, _ = alvh("list")
    assert code == 0
    for words in (proposal.tx_hash, "1 of 2", "at most 25.000000 USDC can leave the Safe"):
        assert words in " ".join(text.split()), words
    code, text, _ = alvh("list", "--json", "-")
    (shown,) = json.loads(text)["proposals"]
    assert (shown["hash"], shown["bound"]) == (proposal.tx_hash, ["25.000000 USDC"])
    code, text, _ = alvh("sign", proposal.tx_hash, *as_owner(OWNERS[1]))
    assert (code, "now with 2 signatures" in text) == (0, True)
    code, _, text = alvh("sign", "0x12", *as_owner(OWNERS[1]))
    assert (code, "64 hex digits" in text) == (2, True)
    code, text, _ = alvh("reject", proposal.tx_hash, *as_owner(OWNERS[2]), "--json", "-")
    assert (code, json.loads(text)["is_rejection"]) == (0, True)
    code, text, _ = alvh("execute", proposal.tx_hash, *as_owner(OWNERS[2]))
    assert (code, text.startswith("executed in block")) == (0, True)
