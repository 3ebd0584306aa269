"""O2, O3, O7 and O9: what people, programs and releases change beside a bot that runs.

O8 is a part of its own, which traces a whole process: campaign/egress.py.
"""

import asyncio
import json
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from campaign.case import Case, Outcome, both, rigged, tested, unless
from campaign.purchase import STEPS, bought, held, let_go, same_bytes
from campaign.rig import Rig
from old_schemas import JOURNAL_1_SQLITE

from bot.chain.pause import read_pause
from bot.cli.shared import EXIT_CONFIG

POINTS = tuple(f"K{number}" for number in range(1, 13))
TOKEN = "a-token-of-the-campaign-0123456789"
CROWD = Path(__file__).parents[2] / "dashboard_crowd.py"
CLIENTS, SLOW = 40, 60
LATER = ("nice", "-n", "10")  # clients are on other machines: they take no processor from the bot
DELAY_S = 1.0
APPROVE, SWAP = "0x095ea7b3", "0x414bf389"  # approve(spender, amount), exactInputSingle(token in, ...)

SPOILED: Mapping[str, Callable[[str], str]] = {
    "half written": lambda text: text[: len(text) // 2],
    "empty": lambda text: text[:0],
    "not TOML": lambda text: text.replace("[chain]", "[chain", 1),
    "an impossible pace": lambda text: text.replace("poll_s = 0.05", "poll_s = -1", 1),
    "more agreement than providers": lambda text: text.replace("agreement = 2", "agreement = 9", 1),
    "a key that nobody knows": lambda text: text.replace("[chain]", "[chain]\nspeed = 1", 1),
    "a chain of real money": lambda text: text.replace("id = 31337", "id = 1", 1),
    "an account that is none": lambda text: text.replace("[account]\n", '[account]\naddress = "0x1"\n', 1),
}


async def o2(rig: Rig) -> Outcome:
    """The file is spoiled or removed under a running bot, which goes on; a restart into it is refused."""
    await rig.warm()
    good = rig.home.config.read_text("utf-8")
    what = ["removed", *SPOILED][rig.seed % (len(SPOILED) + 1)]
    if what == "removed":
        rig.home.config.unlink()
    else:
        spoiled = SPOILED[what](good)
        rig.home.config.write_text(spoiled, "utf-8")
        assert spoiled != good, what
    rig.resume()
    wrong = [*await bought(rig)]
    await rig.end("bot")
    sent = len(rig.pool.seen)
    code = await rig.ended(await rig.start_bot(), within_s=30.0)
    said = rig.said[-1]
    rig.running.pop("bot")
    wrong += [
        *unless(code == EXIT_CONFIG, f"started over a file that is {what} it ended with {code}"),
        *unless(said.startswith("error: ") and said.count("\n") == 1, f"it says {said[:300]!r}"),
        *unless(len(rig.pool.seen) == sent, "something was sent"),
    ]
    rig.home.config.write_text(good, "utf-8")
    await rig.start_bot()
    wrong += unless(await rig.step(within_s=30.0), "with the good file back it does not run")
    return Outcome(wrong=(*wrong, *await bought(rig)), note=f"{what}: {said.strip()[:120]}")


async def o3(rig: Rig) -> Outcome:
    """Paused at one of the twelve points of a transaction, or while it is in the pool."""
    point = (*POINTS, "")[rig.seed % (len(POINTS) + 1)]
    step = rig.random.randrange(len(STEPS) - 1)
    arm = [("campaign.child:pause_at", point, STEPS[step], str(rig.home.folder))]
    nonce = await rig.warm(arm=arm if point else ())
    if point:
        rig.resume()
        await rig.mine()
    else:
        await held(rig, nonce + step)
        rig.pause("while it is in the pool")
        await asyncio.sleep(DELAY_S + 0.5 * rig.random.random())
        await let_go(rig, nonce + step)
    if not await rig.until(lambda: read_pause(rig.home.folder), within_s=30.0):
        raise AssertionError(f"{point} of {STEPS[step]} was not reached: {rig.bot.err}")
    paused = read_pause(rig.home.folder)
    assert paused is not None
    paused_s = paused.at_s - time.time() + time.monotonic()
    await rig.settle()
    open_after = rig.open_work()
    await rig.end("bot")
    filled = rig.filled()
    await rig.start_bot()
    restarted = await rig.step(2, within_s=30.0)
    late = [item for item in _openings(rig) if rig.pool.first_s[item] > paused_s + DELAY_S]
    wrong = [
        *unless(not late, f"signed later than {DELAY_S:g} s after the pause: {late}"),
        *unless(not open_after, f"what was under way did not end: {open_after}"),
        *unless(restarted and rig.filled() == filled, f"a restart went on: {rig.outcomes()}"),
        *unless(read_pause(rig.home.folder), "the pause is gone"),
    ]
    resumed = await rig.ended(rig.home.start("resume", "--yes"))
    wrong += unless(resumed == 0, f"alvh resume ended with {resumed}")
    where = f"at {point}" if point else "in the pool"
    return Outcome(wrong=(*wrong, *await bought(rig)), note=f"{STEPS[step]} {where}, filled before {filled}")


def _openings(rig: Rig) -> list[str]:
    """Return hashes of what was offered and opens: no cancel, no revocation, no change back."""
    own, sold = rig.at.user.lower(), rig.at.susd[2:].lower()
    return [
        item.hash
        for item in {item.hash: item for item in rig.pool.seen}.values()
        if item.to.lower() != own
        and not (item.data.startswith(APPROVE) and int(item.data[-64:], 16) == 0)
        and not (item.data.startswith(SWAP) and item.data[34:74] == sold)
    ]


async def o7(rig: Rig) -> Outcome:
    """A crowd at the dashboard: readers, slow heads, wrong tokens, large bodies, hosts that are others'."""
    text = rig.home.config.read_text("utf-8")
    rig.home.config.write_text(f'{text}\n[dashboard]\ntoken = "{TOKEN}"\n', "utf-8")
    await rig.warm()
    served = rig.running["dashboard"] = rig.home.start("dashboard", "--mode", "live", "--port", "0", "--json")
    if not await rig.until(lambda: served.out.endswith("\n"), within_s=30.0):
        raise AssertionError(f"the dashboard did not begin: {served.err}")
    url = json.loads(served.out)["url"]
    calm_s = max([await _timed_step(rig) for _ in range(4)])
    crowd = await asyncio.create_subprocess_exec(
        *LATER, sys.executable, str(CROWD), url, TOKEN, str(CLIENTS), str(SLOW),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert crowd.stdout is not None
    await crowd.stdout.readline()  # all are there
    rude = await asyncio.create_subprocess_exec(
        *LATER, sys.executable, "-m", "campaign.rude", url, cwd=CROWD.parent, stdout=asyncio.subprocess.PIPE
    )
    answers = asyncio.gather(crowd.communicate(), rude.communicate())
    took_s = [await _timed_step(rig)]
    while not answers.done():
        took_s.append(await _timed_step(rig))
    (counts, _), (let_in, _) = await answers
    answered, failed, cut = map(int, counts.split())
    await rig.end("dashboard")
    wrong = [
        *unless(max(took_s) < calm_s + DELAY_S, f"a step took {max(took_s):.2f} s, before {calm_s:.2f} s"),
        *unless(json.loads(let_in) == [], f"let in: {let_in.decode()}"),
        *unless(answered and cut == SLOW, f"answered {answered}, failed {failed}, slow ones cut {cut}"),
    ]
    rig.resume()
    note = f"{len(took_s)} steps, at most {max(took_s):.2f} s, before {calm_s:.2f} s; answered {answered}"
    return Outcome(wrong=(*wrong, *await bought(rig)), note=note)


async def _timed_step(rig: Rig) -> float:
    began_s = time.monotonic()
    if not await rig.step():
        raise AssertionError(f"no step within {time.monotonic() - began_s:.0f} s: {rig.bot.err}")
    return time.monotonic() - began_s


async def o9(rig: Rig) -> Outcome:
    """The program is changed while an order is open: its journal is of an older schema, or of a newer one."""
    nonce = await rig.warm()
    hit = nonce + rig.random.randrange(len(STEPS))
    await held(rig, hit)
    await rig.end("bot", signal.SIGKILL)
    sent, is_older, path = len(rig.pool.seen), bool(rig.seed % 2), rig.journal_path()
    if is_older:
        as_first_release(path)
    else:
        _stamp(path, "0099")
    code = await rig.ended(await rig.start_bot(), within_s=30.0)
    rig.running.pop("bot")
    said = rig.said[-1]
    word = "alvh db upgrade" if is_older else "0099"
    wrong = [
        *unless(code == EXIT_CONFIG and said.count("\n") == 1, f"it ended with {code}: {said[:300]!r}"),
        *unless(word in said, f"{word} is not named: {said[:300]!r}"),
        *unless(len(rig.pool.seen) == sent, "something was sent over a journal of another schema"),
    ]
    if is_older:
        upgraded = await rig.ended(rig.home.start("db", "upgrade", "--yes"))
        wrong += unless(upgraded == 0, f"alvh db upgrade ended with {upgraded}: {rig.said[-1]}")
    else:
        _stamp(path, "0002")
    await rig.start_bot()
    if rig.random.random() < 0.5:
        await rig.mine()
    await let_go(rig, hit)
    wrong += [*await bought(rig), *same_bytes(rig, hit)]
    how = "upgraded" if is_older else "downgraded and back"
    return Outcome(wrong=tuple(wrong), note=f"{how} at {STEPS[hit - nonce]}")


def as_first_release(path: Path) -> None:
    """Put a journal into the schema of the first release, row by row in the order of its writing."""
    newer = path.with_suffix(".newer")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.rename(newer)
    for rest in ("-wal", "-shm"):
        Path(f"{path}{rest}").unlink(missing_ok=True)
    with closing(sqlite3.connect(newer)) as source, closing(sqlite3.connect(path)) as target:
        source.row_factory = sqlite3.Row
        for statement in JOURNAL_1_SQLITE:
            target.execute(statement)
        for key, value in source.execute("SELECT key, value FROM meta"):
            target.execute("INSERT INTO meta VALUES (?, ?)", (key, "1" if key == "schema_version" else value))
        rows = [
            (row["seq"], table, dict(row))
            for table in ("leg_events", "intent_events", "steps")
            for row in source.execute(f"SELECT * FROM {table}")  # noqa: S608
        ]
        for _, table, row in sorted(rows, key=lambda item: item[0]):
            names, places = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
            target.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(row.values()))  # noqa: S608
        target.commit()
    newer.unlink()


def _stamp(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()


CASES: Mapping[str, Case] = {
    "O2": both(rigged(o2), tested("bad_input/test_config.py")),
    "O3": rigged(o3),
    "O7": rigged(o7),
    "O9": both(rigged(o9), tested("pipeline/test_migrations.py")),
}
