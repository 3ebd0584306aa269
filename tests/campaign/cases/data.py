"""The D rows of reliability.md: prices that are moved, wrong, contradictory, or truly falling."""

import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from campaign.case import Case, Lab, Outcome, both, rigged, tested, unless
from campaign.crash import FAULTS, Market, crash, patient, warm_history
from campaign.rig import Rig
from eth_utils.crypto import keccak

from bot.devnet.deployment import CHAIN_ID
from bot.devnet.moves.wire import Tx, View, calldata, read_all
from bot.devnet.scenarios import START_USD
from bot.model.tier import Tier

_ROUNDS_SLOT = 4  # of ChainlinkFeed.vy: after its description (3) and the number of the newest round (1)
_MOVES = (0.05, 0.10, 0.30, 0.60, 0.90)
_warm: dict[int, Path] = {}  # of this process


async def _began(rig: Rig, *, paused: bool) -> Market:
    """Start the bot over 35 days of calm, so that every rule could fire; let it look, or protect."""
    patient(rig.home)
    shutil.copy(_warm[0], rig.home.folder / f"history-{CHAIN_ID}.sqlite")
    market = Market(rig.chain, rig.at)
    await market.poll(START_USD)
    if paused:
        rig.pause()
    await rig.start_signer()
    await rig.start_bot()
    await rig.step(2)
    await rig.settle()
    return market


def over_history(act: Callable[[Rig], Awaitable[Outcome]]) -> Case:
    """Return a rigged case whose bot knows 35 days; they are made once for all cases of a process."""
    case = rigged(act)

    async def warmed(lab: Lab) -> Outcome:
        if not _warm:
            file = Path(tempfile.mkdtemp(dir=lab.folder.parent)) / "warm.sqlite"
            await warm_history(lab, file)
            _warm[0] = file
        return await case(lab)

    return warmed


def _tier(rig: Rig) -> Tier:
    last = rig.last()
    return max((item.tier for item in last.decision.groups), default=Tier.CALM) if last else Tier.CALM


async def d1(rig: Rig) -> Outcome:
    """Both pools are moved for one to five blocks, or to and fro within the block of our read."""
    market = await _began(rig, paused=False)
    bought, share = rig.filled(), rig.random.choice(_MOVES)
    blocks = rig.random.randrange(6)
    usd = START_USD * (1.0 + share * rig.random.choice((-1, 1)))
    wrong: list[str] = []
    if blocks == 0:
        await market.flash(usd)
        wrong += unless(await rig.step(), "it took no step")
    else:
        await market.spot(usd)
        for _ in range(blocks):
            wrong += unless(await rig.step(), "it took no step")
        await market.spot(START_USD)
    for _ in range(3):
        wrong += unless(_tier(rig) is Tier.CALM, f"the tier is {_tier(rig).name}")
        wrong += unless(await rig.step(), "it took no step")
    what = f"{share:.0%} to {usd:,.0f} for {blocks} blocks" if blocks else f"{share:.0%} within one block"
    wrong += unless(bought == 1, f"{bought} purchases were there before it")
    wrong += unless(rig.filled() == bought, f"after {what} it traded: {rig.outcomes()}")
    return Outcome(wrong=tuple(wrong), note=what)


_ANSWERS: Mapping[str, tuple[float, float]] = {  # price in 1e-8 USD, seconds from now
    "zero": (0.0, 0.0),
    "negative": (-START_USD * 1e8, 0.0),
    "three hours old": (START_USD * 1e8, -10_800.0),
    "an hour ahead": (START_USD * 1e8, 3_600.0),
    "at its lower bound": (1.0, 0.0),
    "of other decimals": (START_USD * 1e18, 0.0),
    "in a unit 1e10 too small": (START_USD / 100.0, 0.0),
    "seven percent off": (START_USD * 1.07e8, 0.0),
    "sixty percent off": (START_USD * 0.4e8, 0.0),
}


def _answer(*names: str) -> Callable[[Rig], Awaitable[Outcome]]:
    """Return a case of a feed that answers nonsense, from before the bot's first look on or in mid-run."""

    async def case(rig: Rig) -> Outcome:
        name = rig.random.choice(names)
        market = await _began(rig, paused=True)
        await _feed(rig, *_ANSWERS[name])
        rig.resume()
        began_s = rig.alarms.heard[-1].at_s if rig.alarms.heard else 0.0
        await rig.step(3)
        last = rig.last()
        holds = last.decision.holds if last else ()
        wrong = [
            *unless(_tier(rig) is Tier.CALM, f"the tier is {_tier(rig).name}"),
            *unless(holds, f"{name}: no hold"),
            *unless(rig.alarms.since(began_s, "hold"), f"{name}: nobody was told of {holds}"),
            *unless(rig.filled() == 0, f"{name}: it traded: {rig.outcomes()}"),
        ]
        await market.poll(START_USD)
        await rig.step(2)
        done = await rig.settle()
        wrong += unless(done and rig.filled() == 1, f"{name}: afterwards {rig.outcomes()}")
        return Outcome(wrong=tuple(wrong), note=f"{name}: {'; '.join(holds)}"[:200])

    return case


async def _feed(rig: Rig, answer: float, off_s: float) -> None:
    at, now_s = rig.at, await rig.now_s()
    data = calldata("setAnswer(int256,uint256)", round(answer), int(now_s + min(off_s, 0.0)))
    await rig.send(Tx(purpose="feed", sender=at.deployer, to=at.feed_eth_usd, data=data, gas=200_000))
    if off_s > 0.0:
        await _date_ahead(rig, int(now_s + off_s))


async def _date_ahead(rig: Rig, updated_s: int) -> None:
    """Date the feed's newest answer into the future, which the devnet's contract refuses to be told."""
    kinds = ("uint80", "int256", "uint256", "uint256", "uint80")
    view = View(rig.at.feed_eth_usd, "latestRoundData()", (), kinds)
    ((number, *_),) = await read_all(rig.chain, rig.at.multicall3, [view])
    slot = int.from_bytes(keccak(_ROUNDS_SLOT.to_bytes(32) + int(number).to_bytes(32))) + 1  # updated_at
    value = "0x" + updated_s.to_bytes(32).hex()
    await rig.chain.request("anvil_setStorageAt", [rig.at.feed_eth_usd, hex(slot), value])
    ((*_, found, _),) = await read_all(rig.chain, rig.at.multicall3, [view])
    if found != updated_s:
        raise AssertionError(f"the feed's answer should be dated {updated_s}, it is {found}")


async def d4(rig: Rig) -> Outcome:
    """The price comes in a wrong unit, or what premiums are paid in leaves its peg."""
    if rig.random.random() < 0.5:
        return await _answer("of other decimals", "in a unit 1e10 too small")(rig)
    return await _depeg(rig)


async def _depeg(rig: Rig) -> Outcome:
    """What premiums are paid in leaves its peg: one purchase within its bounds, or none and told."""
    market = await _began(rig, paused=True)
    share = rig.random.choice((0.03, 0.1, 0.3))
    began_s = time.monotonic()
    await market.stable(1.0 - share)
    rig.resume()
    stepped = await rig.step(4)
    await rig.settle()
    # A standing TAIL that is not bought is no trouble at CALM: told as what is missing, with its reason.
    told = rig.alarms.since(began_s) or [item for item in rig.alarms.heard if item.kind == "shortfall"]
    return Outcome(
        wrong=(
            *unless(stepped, "it took no step"),
            *unless(rig.filled() <= 1, f"more than one purchase: {rig.outcomes()}"),
            *unless(rig.filled() or told, "nothing was bought, and nobody was told"),
        ),
        note=f"{share:.0%} off its peg: {rig.outcomes() or 'nothing was bought'}",
    )


async def d6(rig: Rig) -> Outcome:
    found = await crash(rig, _warm[0], rig.random.choice(tuple(FAULTS)))
    await rig.settle()
    return Outcome(
        wrong=unless(found.is_right, f"{found.fault}: {found.polls} polls, told at {found.alarmed}"),
        note=f"{found.fault}: threshold at poll {found.threshold}, {found.polls} polls later protected",
    )


CASES: Mapping[str, Case] = {
    "D1": over_history(d1),
    "D2": both(
        over_history(_answer("zero", "negative", "three hours old", "an hour ahead", "at its lower bound")),
        tested("watchers/test_chainlink.py"),
    ),
    "D3": over_history(_answer("seven percent off", "sixty percent off")),
    "D4": over_history(d4),
    "D5": tested("engine/test_tier_laws.py", "engine/test_confirmation.py"),
    "D6": over_history(d6),
    "D7": tested(
        "engine/test_choose.py",
        "venues/test_lyra.py::test_inside_the_cutoff_nothing_opens_and_closing_is_by_force",
        "venues/test_lyra.py::test_a_size_over_the_liquidity_is_quoted_at_what_there_is",
        "venues/test_opyn.py::test_a_drained_pool_is_illiquid",
        "venues/test_opyn.py::test_what_must_not_be_bought_is_refused_by_name",
        "venues/test_opyn.py::test_more_than_the_leg_allows_is_refused_before_anything_is_sent",
    ),
    "D8": tested(
        "venues/test_lyra.py::test_another_instrument_than_the_leg_names_is_refused",
        "venues/test_opyn.py::test_a_leg_of_another_option_is_refused",
        "venues/test_derive_bad_market.py",
        "venues/test_perp_v2.py::test_a_market_of_another_token_is_refused_by_its_name",
    ),
    "D9": tested("engine/test_tier_laws.py", "engine/test_money_laws.py", "engine/test_mangled.py"),
}
