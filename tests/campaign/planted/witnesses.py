"""Cases beside the 85 rows: each looks at one promise that a row takes for granted.

The planted bugs need them: an order that goes well tells nothing of a missing fsync, a float or a cap that is
compared with nothing.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import decode
from eth_account import Account
from eth_utils.crypto import keccak
from faults.faults import Chain, Late, Liar, Limited, Result
from faults.proxy import Fault

from bot.chain.fees import Fees
from bot.chain.rpc import quantity
from bot.chain.signer import Unsigned
from bot.chain.signer_client import SignerClient
from bot.chain.signer_wire import SOCKET_NAME
from bot.errors import BotError
from campaign.case import Case, Outcome, rigged, unless
from campaign.pool import Mode, Pooled
from campaign.rig import Rig
from campaign.user_key import user_key

_APPROVE = "0x" + keccak(text="approve(address,uint256)")[:4].hex()
_TRADE = "(uint256,uint256,uint256,uint8,uint256,uint256,uint256,uint256)"
_OPEN = "0x" + keccak(text=f"openPosition({_TRADE})")[:4].hex()
_ACTS_WITHIN_S = 10.0  # on what it is shown: a bot on a busy machine


def _bought(rig: Rig, *, times: int = 1) -> tuple[str, ...]:
    return unless(rig.filled() == times, f"{times} purchase was wanted, booked are {rig.outcomes()}")


def _unsent(rig: Rig, why: str) -> tuple[str, ...]:
    sent = [item.nonce for item in rig.pool.seen]
    return unless(not sent, f"{why}, and transactions with nonces {sent} were sent")


# a life without a fault


@asynccontextmanager
async def _syncs(pid: int, path: Path) -> AsyncIterator[Path]:
    """Have strace write down every sync of a process, with the file's name."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it runs beside
        ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(path), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = await asyncio.to_thread(process.stderr.readline)
    if "attached" not in first:
        process.kill()
        raise RuntimeError(f"syncs cannot be counted, strace is needed: {first}")
    try:
        yield path
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


def _count(path: Path, name: str) -> int:
    return sum(name in line and " = 0" in line for line in path.read_text().splitlines())


async def life(rig: Rig) -> Outcome:
    """One order from its decision to its end: every row and signature is synced, every amount exact."""
    await rig.warm()
    (signer_memory,) = rig.home.folder.glob("signer-*.log")
    rows, lines = _rows(rig), len(signer_memory.read_bytes().splitlines())
    places = [rig.home.folder.parent / name for name in ("bot.strace", "signer.strace")]
    async with _syncs(rig.bot.pid, places[0]), _syncs(rig.running["signer"].pid, places[1]):
        rig.resume()
        await rig.step(2)
        done = await rig.settle()
        await asyncio.sleep(0.2)
    more_rows = _rows(rig) - rows
    more_lines = len(signer_memory.read_bytes().splitlines()) - lines
    syncs = _count(places[0], rig.journal_path().name), _count(places[1], signer_memory.name)
    return Outcome(
        wrong=(
            *unless(done, f"orders are open still: {rig.open_work()}"),
            *_bought(rig),
            *unless(syncs[0] >= more_rows, f"I12: {more_rows} rows of the journal, {syncs[0]} syncs"),
            *unless(syncs[1] >= more_lines, f"I12: {more_lines} signatures, {syncs[1]} syncs"),
            *_exact(rig.pool.seen),
        )
    )


def _rows(rig: Rig) -> int:
    return rig.journalled(lambda journal: sum(journal.count().values()), 0)


def _exact(seen: list[Pooled]) -> tuple[str, ...]:
    """What is allowed before a purchase is to the last unit what the purchase may take."""
    allowed = bounds = 0
    for item in {item.nonce: item for item in seen}.values():
        data = bytes.fromhex(item.data[10:])
        if item.data.startswith(_APPROVE):
            allowed = decode(["address", "uint256"], data)[1] or allowed
        elif item.data.startswith(_OPEN):
            bounds = decode([_TRADE], data)[0][7]
    return unless(allowed == bounds > 0, f"I9: allowed were {allowed}, the purchase is bound by {bounds}")


# numbers that are none, and nonces of others


async def null(rig: Rig) -> Outcome:
    """No provider ever knew the account's nonce: nothing is signed until one does."""
    await rig.chain.request("anvil_setNonce", [rig.at.user, hex(40)])
    rig.fail(Result(methods=frozenset({"eth_getTransactionCount"}), value=None))  # from the bot's first look
    await rig.warm()
    rig.resume()
    await rig.step(3)
    wrong = _unsent(rig, "no provider knew the nonce")
    low = [item.nonce for item in rig.pool.seen if item.nonce < 40]
    rig.fail(None)
    done = await rig.settle() if not wrong else True
    await rig.step(3)
    return Outcome(
        wrong=(
            *wrong,
            *unless(not low, f"I7: nonces {low} were signed again"),
            *unless(done, f"orders are open still: {rig.open_work()}"),
            *(() if wrong else _bought(rig)),
        )
    )


async def pending(rig: Rig) -> Outcome:
    """Another transaction of the key waits in the pool: nothing is signed behind it."""
    await rig.warm()
    key = Account.from_key(user_key())
    nonce = quantity(await rig.chain.request("eth_getTransactionCount", [rig.at.user, "latest"]))
    signed = key.sign_transaction(
        {
            "type": 2, "chainId": 31337, "nonce": nonce, "to": rig.at.user, "data": b"", "value": 0,
            "gas": 21_000, "maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 10**9,
        }
    )  # fmt: skip
    foreign = Pooled.of("0x" + bytes(signed.raw_transaction).hex())
    rig.pool.held[foreign.hash] = foreign
    rig.resume()
    await rig.step(3)
    return Outcome(wrong=_unsent(rig, f"nonce {nonce} was used by somebody else, in the pool"))


async def unknown(rig: Rig) -> Outcome:
    """The purchase is sent and not mined for longer than is waited: it stays open, and is booked once."""
    rig.home.config.write_text(rig.home.config.read_text("utf-8") + "\n[execution]\nwait_s = 2.0\n", "utf-8")
    await rig.warm()
    rig.pool.mode = Mode.HOLD
    rig.resume()
    await rig.mine()
    for _ in range(8):  # its allowances are mined, one by one
        await rig.until(lambda: rig.pool.held, within_s=10.0)
        if any(item.data.startswith(_OPEN) for item in rig.pool.held.values()):
            break
        await rig.pool.release()
    await asyncio.sleep(_ACTS_WITHIN_S)
    await rig.mine(2)
    rig.pool.mode = Mode.PASS
    await rig.pool.release()
    done = await rig.settle()
    return Outcome(wrong=(*unless(done, f"orders are open still: {rig.open_work()}"), *_bought(rig)))


# receipts


@dataclass(frozen=True, kw_only=True)
class _Receipts(Fault):
    """A receipt for whatever is asked for, of a block that is not on the chain."""

    methods: frozenset[str] | None = frozenset({"eth_getTransactionReceipt"})

    async def reply(self, call: Any, reply: Any, proxy: Any) -> Any:
        number = await proxy.ask("eth_blockNumber")
        receipt = {
            "transactionHash": call["params"][0], "blockNumber": number, "blockHash": "0x" + "ab" * 32,
            "status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x1", "logs": [],
            "transactionIndex": "0x0", "cumulativeGasUsed": "0x5208", "type": "0x2",
        }  # fmt: skip
        return reply | {"result": receipt}


async def receipt(rig: Rig) -> Outcome:
    """All providers have a receipt, and its block is on no chain: it is looked at again, not believed."""
    await rig.warm()
    rig.pool.mode = Mode.HOLD
    rig.fail(_Receipts())
    rig.resume()
    await rig.mine()
    await rig.until(lambda: rig.pool.seen, within_s=10.0)
    await rig.mine(2)
    await asyncio.sleep(_ACTS_WITHIN_S)
    nonces = {item.nonce for item in rig.pool.seen}
    rig.fail(None)
    rig.pool.mode = Mode.PASS
    await rig.pool.release()
    done = await rig.settle()
    return Outcome(
        wrong=(
            *unless(len(nonces) == 1, f"nothing was mined, and nonces {sorted(nonces)} were sent"),
            *unless(done, f"orders are open still: {rig.open_work()}"),
            *_bought(rig),
        )
    )


async def depth(rig: Rig) -> Outcome:
    """Three confirmations are wanted: no transaction is final below them."""
    rig.home.change(r"confirmations = 1", "confirmations = 3")
    await rig.warm()
    rig.resume()
    await rig.step(2)
    for _ in range(60):
        await rig.mine()
        if await rig.until(lambda: not rig.open_work(), within_s=0.3):
            break
    early = []
    for event in rig.journalled(lambda journal: journal.intents(), ()):
        if event.state.value != "final":
            continue
        block = await rig.chain.request("eth_getBlockByNumber", [hex(event.block_number + 2), False])
        if block is None or event.at_s < quantity(block["timestamp"]):
            early.append(event.key)
    return Outcome(
        wrong=(
            *_bought(rig),
            *unless(not early, f"I2: called final below three confirmations: {early}"),
        )
    )


async def bump(rig: Rig) -> Outcome:
    """A transaction is not mined for long: it is replaced at its nonce, for a price that nodes accept."""
    await rig.warm()
    rig.pool.mode = Mode.HOLD
    rig.resume()
    await rig.mine()
    replaced = await rig.until(lambda: len({item.hash for item in rig.pool.seen}) > 1, within_s=45.0)
    await asyncio.sleep(1.0)
    first = rig.pool.seen[0].hash  # may come late by a slow provider, when it was replaced already
    refused = [
        f"{item.hash}: {why}" for item, why in rig.pool.refused if why != "known" and item.hash != first
    ]
    nonces = {item.nonce for item in rig.pool.seen}
    rig.pool.mode = Mode.PASS
    await rig.pool.release()
    done = await rig.settle()
    return Outcome(
        wrong=(
            *unless(replaced, "what was not mined was never replaced"),
            *unless(len(nonces) == 1, f"I7: the replacement has another nonce: {sorted(nonces)}"),
            *unless(not refused, f"the pool refused {refused}"),
            *unless(done, f"orders are open still: {rig.open_work()}"),
            *_bought(rig),
        )
    )


# what may be bought, and who says so


async def stale(rig: Rig) -> Outcome:
    """The feed has said nothing for longer than its heartbeat: nothing is bought until it does."""
    await rig.warm()
    await rig.mine(every_s=9_000)
    await rig.step(1)
    rig.resume()
    await rig.step(3)
    return Outcome(wrong=_unsent(rig, "I6: the price was older than its heartbeat"))


async def cap(rig: Rig) -> Outcome:
    """The signer's caps leave room for nothing: no allowance to buy is signed."""
    rows = "".join(
        f'\n[[signer.caps]]\ntoken = "{token}"\ndecimals = {decimals}\nper_transaction = "1"\nper_day = "1"\n'
        for token, decimals in ((rig.at.susd, 18), (rig.at.usdc, 6))
    )
    rig.home.config.write_text(rig.home.config.read_text("utf-8") + rows, "utf-8")
    await rig.warm()
    rig.resume()
    await rig.step(3)
    return Outcome(wrong=_unsent(rig, "I3: the signer may spend a dollar a day"))


async def chain(rig: Rig) -> Outcome:
    """Providers say in mid-session that they serve another chain: nothing is decided or sent by them."""
    await rig.warm()
    rig.fail(Chain())
    await rig.mine(2)
    await asyncio.sleep(1.0)
    rig.resume()
    await rig.mine(3)
    await asyncio.sleep(_ACTS_WITHIN_S)
    why, opened = "every provider serves another chain", rig.open_work()
    # A second check, before a send, may end the bot first: the order that it was for is wrong by itself.
    return Outcome(wrong=(*_unsent(rig, why), *unless(not opened, f"{why}, and orders are open: {opened}")))


async def lie(rig: Rig) -> Outcome:
    """The quickest of three providers answers as of three blocks ago; the other two are right."""
    await rig.warm()
    last = rig.last()
    assert last is not None
    spot = 1.04 * last.spot_usd["ETH"]
    rig.fail(Liar(blocks=3), of=[0])
    rig.fail(Late(delay_s=0.15), of=[1, 2])
    await rig.move_price(spot)
    rig.resume()
    await rig.step(2)
    rig.fail(None)
    await rig.settle()
    return Outcome(wrong=_bought(rig), note=f"the feed said {spot:,.2f} USD")  # the auditor compares


async def pause(rig: Rig) -> Outcome:
    """A person pauses between the allowance and the purchase: the purchase is not signed."""
    await rig.warm()
    rig.pool.mode = Mode.HOLD
    rig.resume()
    await rig.mine()
    await rig.until(lambda: rig.pool.seen, within_s=10.0)
    rig.pause("a person saw something")
    await asyncio.sleep(0.5)
    before = {item.nonce for item in rig.pool.seen}
    rig.pool.mode = Mode.PASS
    await rig.pool.release()
    done = await rig.settle()
    opened = [item.hash for item in rig.pool.seen if item.data.startswith(_OPEN) and item.nonce not in before]
    return Outcome(
        wrong=(
            *unless(not opened, f"it was paused, and {opened} was signed"),
            *unless(done, f"orders are open still: {rig.open_work()}"),
        )
    )


async def fence(rig: Rig) -> Outcome:
    """Others take over the bot's key, one after the other; the first comes back and asks for a signature."""
    await rig.warm()
    place = rig.home.folder / SOCKET_NAME
    first, second = (SignerClient(place, address=rig.at.user, who=name) for name in ("first", "second"))
    await first.connect(take_over=True)
    await second.connect(take_over=True)
    ask = Unsigned(
        chain_id=31337, nonce=10_000, to=rig.at.user.lower(), data=b"", value_wei=0, gas=21_000,
        fees=Fees(max_fee_wei=2 * 10**9, tip_wei=10**9), valid_until_s=await rig.now_s() + 60.0,
    )  # fmt: skip
    signed = False
    for _ in range(3):
        with suppress(BotError):
            await first.sign(ask, now_s=await rig.now_s())
            signed = True
    for client in (first, second):
        await client.close()
    return Outcome(wrong=unless(not signed, "a leader that was overtaken got a signature"))


async def secret(rig: Rig) -> Outcome:
    """A provider refuses its key: it is named in the log without it (the auditor looks)."""
    await rig.warm()
    rig.fail(Limited(status=403), of=[0])
    await rig.step(3)
    rig.fail(None)
    return Outcome(wrong=unless(await rig.step(1), "it does not go on"))


WITNESSES: Mapping[str, Case] = {
    "W-life": rigged(life),
    "W-unknown": rigged(unknown),
    "W-null": rigged(null),
    "W-pending": rigged(pending, at_rest=False),
    "W-receipt": rigged(receipt),
    "W-depth": rigged(depth),
    "W-bump": rigged(bump),
    "W-stale": rigged(stale),
    "W-cap": rigged(cap),
    "W-chain": rigged(chain),
    "W-lie": rigged(lie),
    "W-pause": rigged(pause),
    "W-fence": rigged(fence),
    "W-secret": rigged(secret),
}
