"""K1 to K16: the bot, or its signer, ends or stands still at any point of an order."""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from campaign.case import Case, Lab, Outcome, both, rigged, unless
from campaign.kill_points import POINTS
from campaign.lying_signer import LIES, lying_signer
from campaign.process_faults import PURCHASE, drop_unsynced, integrity, said_by, strace
from campaign.rig import Rig
from commands import Home
from journal_builders import step
from old_stores import old_journal

from bot.app.stores import journal_identity
from bot.chain.signer_client import SignerClient
from bot.chain.signer_wire import SOCKET_NAME
from bot.pipeline.journal import SqlJournal
from bot.settings import load_policy, load_settings

_LEG_POINTS = ("K1", "K2", "K12")  # of the order, not of one transaction
_STATEMENTS = 10  # an upgrade has more
_ON_DISK = ("K7", "K8", "K9", "K10", "K11", "K12")  # the signed bytes are


async def _armed(rig: Rig, point: str, purpose: str, how: str = "SIGKILL") -> None:
    """Let the bot begin an order and come to a point of it, where it gets a signal."""
    await rig.warm(arm=[["campaign.process_faults:arm_point", point, purpose, rig.proxies[0].url, how]])
    rig.resume()
    await rig.mine()


async def _went_on(rig: Rig, *, blocks: int = 25) -> Iterator[str]:
    """Let the restarted bot go on until nothing is open; yield what is wrong then."""
    done = False
    for _ in range(blocks):
        await rig.step(within_s=10.0)
        done = not rig.open_work() and rig.filled() == 1
        if done or not await rig.supervised():
            break
    return iter(
        (
            *unless(done, f"after the restart: {rig.outcomes()}, open {rig.open_work()}; {said_by(rig)}"),
            *_one_payload(rig),
        )
    )


def _one_payload(rig: Rig) -> Iterator[str]:
    """Yield nonces that were offered with two different calls; a cancel of our own is none."""
    calls: dict[int, set[tuple[str, str]]] = {}
    for item in rig.pool.seen:
        if item.to.lower() != rig.at.user.lower():
            calls.setdefault(item.nonce, set()).add((item.to, item.data))
    yield from (
        f"nonce {n} was offered with {len(found)} calls" for n, found in calls.items() if len(found) > 1
    )


def _on_disk(rig: Rig) -> dict[int, str]:
    """Return nonce -> hash of what was signed and written."""
    return rig.journalled(
        lambda journal: {item.nonce: item.tx_hash for item in journal.intents() if item.tx_hash}, {}
    )


def at_point(point: str, *purposes: str) -> Case:
    """K1 to K12: killed there, and started again."""

    async def act(rig: Rig) -> Outcome:
        purpose = "" if point in _LEG_POINTS else rig.random.choice(purposes or PURCHASE)
        await _armed(rig, point, purpose)
        code = await rig.ended(rig.running.pop("bot"), within_s=20.0)
        wrong = unless(code == -9, f"it was not killed at {point} of {purpose or 'the order'}: {code}")
        signed = _on_disk(rig)
        await rig.mine(rig.random.randrange(4))
        await rig.start_bot()
        wrong += (*await _went_on(rig),)
        sent = {item.nonce: item.hash for item in rig.pool.seen}
        for nonce, tx_hash in signed.items() if point in _ON_DISK else ():
            wrong += unless(sent.get(nonce) == tx_hash, f"nonce {nonce} is not the bytes that were on disk")
        return Outcome(wrong=wrong, note=f"{POINTS[point]}: {purpose or 'the order'}")

    return rigged(act)


async def terminated(rig: Rig) -> Outcome:
    """K13: SIGTERM. The step under way is finished, the exit is clean, and the next start adds nothing."""
    point, purpose = rig.random.choice(("K4", "K5", "K7", "K8", "K10")), rig.random.choice(PURCHASE)
    await _armed(rig, point, purpose, "SIGTERM")
    code = await rig.ended(rig.running.pop("bot"), within_s=60.0)
    wrong = unless(code == 0, f"SIGTERM at {point} of {purpose} ended it with {code}: {rig.said[-1][-300:]}")
    await rig.start_bot()
    return Outcome(wrong=(*wrong, *await _went_on(rig)), note=f"SIGTERM at {point} of {purpose}")


async def stopped(rig: Rig) -> Outcome:
    """K13: SIGSTOP for two minutes of the chain, while another leads the signer; then SIGCONT.

    What was signed before it may go out: a nonce has one payload. Nothing more is signed for the one that
    was overtaken, which ends; the next start goes on.
    """
    point, purpose = rig.random.choice(("K4", "K5", "K8", "K10")), rig.random.choice(PURCHASE)
    await _armed(rig, point, purpose, "SIGSTOP")
    pid = rig.bot.pid
    stands = await rig.until(lambda: _is_stopped(pid), within_s=20.0)
    wrong = unless(stands, f"it did not stand still at {point} of {purpose}: {said_by(rig)}")
    second = rig.home.start("run", "--live", "--once")
    refused = await rig.ended(second, within_s=30.0)
    wrong += unless(refused != 0, "a second bot began beside the one that stands still")
    settings = load_settings(rig.home.config)
    other = SignerClient(
        rig.home.folder / SOCKET_NAME, address=rig.at.user, who="campaign",
        policy_hash=load_policy(settings.policy).hash,
    )  # fmt: skip
    await other.connect(take_over=True)
    await rig.mine(11)
    before = len(_on_disk(rig))
    os.kill(pid, signal.SIGCONT)
    await rig.step(2, within_s=8.0)
    more = len(_on_disk(rig)) - before
    # Under K4 and K5 its answer may lie in the socket, which the overtaken one may still read and journal.
    wrong += unless(more <= 1, f"{more} transactions were signed for one that was overtaken")
    await other.close()
    if rig.bot.is_alive:
        await rig.end("bot")
    else:
        await rig.ended(rig.running.pop("bot"))
    await rig.start_bot()
    return Outcome(wrong=(*wrong, *await _went_on(rig)), note=f"SIGSTOP at {point} of {purpose}")


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return False


async def out_of_memory(rig: Rig) -> Outcome:
    """K13: the kernel kills bot and signer at once."""
    await rig.warm()
    rig.resume()
    await rig.mine()
    wanted = rig.random.randrange(len(PURCHASE))
    await rig.until(lambda: len(rig.pool.seen) > wanted, within_s=10.0)
    await asyncio.sleep(rig.random.uniform(0.0, 0.05))
    for name in ("bot", "signer"):
        os.kill(rig.running[name].pid, signal.SIGKILL)
    for name in ("bot", "signer"):
        await rig.ended(rig.running.pop(name))
    await rig.start_signer()
    await rig.start_bot()
    return Outcome(wrong=(*await _went_on(rig),), note=f"both killed after {wanted + 1} sends")


async def power_cut(rig: Rig) -> Outcome:
    """K13: all ends at the N-th sync of the bot, and what that sync was to keep is not on the disk."""
    await rig.warm()
    number = rig.random.randrange(1, 25)
    log = rig.home.folder.parent / "strace.log"
    async with strace(rig.bot.pid, log, f"fdatasync:signal=SIGKILL:when={number}") as fault:
        rig.resume()
        await rig.mine()
        died = await rig.until(lambda: not rig.bot.is_alive, within_s=20.0)
        for _ in range(5):
            if not died:
                await rig.mine()
                died = await rig.until(lambda: not rig.bot.is_alive, within_s=4.0)
        paths = fault.paths()
    await rig.ended(rig.running.pop("bot"), within_s=1.0)
    await rig.end("signer", signal.SIGKILL)
    lost = bool(paths) and paths[-1].endswith("-wal") and drop_unsynced(Path(paths[-1]))
    name = Path(paths[-1]).name if paths else "nothing"
    await rig.start_signer()
    await rig.start_bot()
    wrong = unless(died, f"it made no {number} syncs in an order and six blocks: rows are not kept")
    wrong += (*await _went_on(rig),)
    wrong += unless(integrity(rig.journal_path()) == "ok", "the journal is not whole")
    return Outcome(wrong=wrong, note=f"power cut at sync {number}, of {name}; a row lost: {lost}")


def by_kills(action: str) -> Case:
    """K14: an order of ``scripts/campaign kills`` that sells, killed at a point, judged by its books."""

    async def case(lab: Lab) -> Outcome:
        point = lab.random.choice(tuple(POINTS))
        (lab.folder / "at").write_bytes(pickle.dumps(lab.at))
        running = lab.server.start(
            lab.rpc_url, str(lab.folder), action, point, str(lab.seed),
            cwd=lab.folder, main="campaign.kills:one",
        )  # fmt: skip
        ended = await asyncio.to_thread(running.wait)
        wrong = unless(ended.code == 0, f"{action} at {point}: {ended.out}{ended.err[-600:]}")
        return Outcome(wrong=wrong, note=f"{action} at {point}")

    return case


def _old_home(lab: Lab) -> Home:
    home = Home(folder=lab.folder / "home", server=lab.server)
    home.folder.mkdir()
    chain = '[chain]\nid = 31337\nrpc_url = "http://127.0.0.1:1"\n'
    home.config.write_text(f'state_dir = "{home.folder}"\n{chain}')
    identity = journal_identity(load_settings(home.config), mode="monitor")
    old_journal(f"sqlite:///{home.journal('monitor')}", lab.folder, identity)
    return home


def _upgrade(*arm: str) -> Callable[[Lab], Outcome]:
    def act(lab: Lab) -> Outcome:
        home = _old_home(lab)
        number = str(lab.random.randrange(1, _STATEMENTS))
        killed = home.alvh("db", "upgrade", arm=[[*arm, *([number] if arm[0].endswith("statement") else ())]])
        with SqlJournal(home.journal("monitor"), read_only=True) as journal:
            was = journal.revision
            wrong = unless(was in ("0001", "0002"), f"the schema is {was}")
            wrong += unless(journal.verify() == 4, "rows are missing after the kill")
        again = home.alvh("db", "upgrade")
        wrong += unless(killed.code == -9, f"it was not killed in the upgrade: {killed}")
        wrong += unless(again.code == 0, f"it could not be upgraded after the kill: {again}")
        with SqlJournal(home.journal("monitor"), read_only=True) as journal:
            wrong += unless((journal.revision, journal.verify()) == ("0002", 4), "the upgrade is not whole")
        wrong += unless(home.alvh("db", "verify").code == 0, "the store does not verify")
        if wrong:
            return Outcome(wrong=wrong)
        identity = journal_identity(load_settings(home.config), mode="monitor")
        with SqlJournal(home.journal("monitor"), identity=identity) as journal:
            journal.append_step(step(4))
        return Outcome(wrong=wrong, note=f"{arm[0].rpartition(':')[2]} {number}: {killed.code}, then {was}")

    return act


def upgraded(*arm: str) -> Case:
    """K14: killed in a migration, or when the copy before it is made: old or new, never in between."""
    act = _upgrade(*arm)

    async def case(lab: Lab) -> Outcome:
        return await asyncio.to_thread(act, lab)

    return case


async def reconfigured(rig: Rig) -> Outcome:
    """K14: killed in an order, and started again with another configuration: the order is ended by it."""
    point, purpose = rig.random.choice(tuple(POINTS)), rig.random.choice(PURCHASE)
    await _armed(rig, point, "" if point in _LEG_POINTS else purpose)
    code = await rig.ended(rig.running.pop("bot"), within_s=20.0)
    rig.home.change(r"poll_s = 0\.05", "poll_s = 0.07")
    rig.home.change(r"timeout_s = 1\.0", "timeout_s = 1.5")
    await rig.start_bot()
    wrong = (*unless(code == -9, f"it was not killed at {point}: {code}"), *await _went_on(rig))
    return Outcome(wrong=wrong, note=f"killed at {point}, another configuration")


async def crash_loop(rig: Rig) -> Outcome:
    """K15: killed again and again for fifteen seconds; at its end one purchase, and no more transactions."""
    await rig.warm()
    rig.resume()
    kills, end_s = 0, time.monotonic() + 15.0
    while time.monotonic() < end_s:
        await rig.mine()
        await asyncio.sleep(rig.random.uniform(0.1, 0.6) if kills % 2 else rig.random.uniform(0.6, 2.0))
        await rig.end("bot", signal.SIGKILL)
        kills += 1
        await rig.start_bot()
    wrong = (*await _went_on(rig),)
    sent = {item.hash: item for item in rig.pool.seen}.values()
    cancels = sum(item.to.lower() == rig.at.user.lower() for item in sent)
    rejected = len(rig.outcomes()) - rig.filled()
    nonces = len({item.nonce for item in sent})
    # An order whose transaction was cancelled begins anew: its allowance was given, and is taken back.
    wrong += unless(
        nonces - cancels <= len(PURCHASE) + 2 * rejected,
        f"{nonces} transactions, {cancels} of them cancels, {rejected} orders rejected",
    )
    return Outcome(wrong=wrong, note=f"{kills} kills, {nonces} transactions")


async def signer_gone(rig: Rig) -> Outcome:
    """K16: the signer dies or hangs in an order; told, nothing is sent, then it goes on."""
    dies = rig.random.random() < 0.5
    after = rig.random.randrange(len(PURCHASE))
    rig.home.change(r"\n\[alerts\]", "\n[signer]\ntimeout_s = 1.0\n\n[alerts]")
    await rig.warm()
    rig.resume()
    if after:
        await rig.mine()
        await rig.until(lambda: len(rig.pool.seen) >= after, within_s=10.0)
    signer, fault_s = rig.running["signer"], time.monotonic()
    os.kill(signer.pid, signal.SIGKILL if dies else signal.SIGSTOP)
    before = len({item.hash for item in rig.pool.seen})
    await rig.step(3, within_s=12.0)
    more = len({item.hash for item in rig.pool.seen}) - before
    # At the moment of the fault one signature may have been on its way.
    wrong = unless(more <= (1 if after else 0), f"{more} new transactions went out without a signer")
    told_s = rig.heard(fault_s)
    if dies:
        await rig.ended(rig.running.pop("signer"))
        await rig.start_signer()
    else:
        os.kill(signer.pid, signal.SIGCONT)
    wrong += (*await _went_on(rig),)
    wrong += unless(told_s == told_s, "nobody was told")
    return Outcome(
        wrong=wrong, to_alarm_s=told_s, note=f"the signer {'died' if dies else 'hung'} after {after} sends"
    )


async def signer_lies(rig: Rig) -> Outcome:
    """K16: a wrong signature, or one of another account: refused, nothing sent, told."""
    await rig.start_signer()
    async with lying_signer(rig.home.folder / SOCKET_NAME) as lying:
        name = rig.random.choice(tuple(LIES))
        lying.lie = LIES[name]
        await rig.warm(starts_signer=False)
        fault_s = time.monotonic()
        rig.resume()
        await rig.step(3, within_s=10.0)
        wrong = unless(lying.told, f"no signature was asked for: {said_by(rig)}")
        wrong += unless(not rig.pool.seen, f"{len(rig.pool.seen)} transactions went out with {name}")
        told_s = rig.heard(fault_s)
        wrong += unless(told_s == told_s, f"nobody was told of {name}: {said_by(rig)}")
        lying.lie = None
        if not rig.bot.is_alive:
            await rig.ended(rig.running.pop("bot"))
            await rig.start_bot()
        wrong += (*await _went_on(rig),)
        await rig.end("bot")
    return Outcome(wrong=wrong, to_alarm_s=told_s, note=name)


CASES: Mapping[str, Case] = {
    **{f"K{number}": at_point(f"K{number}") for number in range(1, 13)},
    "K13": both(rigged(terminated), rigged(stopped), rigged(out_of_memory), rigged(power_cut)),
    "K14": both(
        by_kills("close"),
        by_kills("roll"),
        at_point("K7", "approve-swap-in", "approve-trade"),
        at_point("K8", "revoke"),
        upgraded("campaign.process_faults:arm_statement"),
        upgraded("campaign.process_faults:arm_copy"),
        rigged(reconfigured),
    ),
    "K15": rigged(crash_loop),
    "K16": both(rigged(signer_gone), rigged(signer_lies)),
}
