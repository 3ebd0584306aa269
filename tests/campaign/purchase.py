"""The purchase that cases fail: one TAIL put at Lyra, in five transactions of known order and purpose."""

from collections.abc import Iterator

from bot.model.hedge import LegOutcome
from campaign.case import unless
from campaign.pool import Mode, Pooled
from campaign.rig import Rig

STEPS = ("approve-swap-in", "swap-in", "approve-trade", "open", "revoke")
_POLL_WITHIN_S = 5.0  # a poll is a block: so long is waited for its step before the next is mined
HURRY = ("campaign.child:hurry", "0.4", "1.0")  # seconds; in service 4 and 30


async def offered(rig: Rig, nonce: int, *, times: int = 1, within_s: float = 30.0) -> Pooled:
    """Wait until so many different transactions were offered for a nonce; return the newest."""
    if not await rig.until(lambda: len(rig.pool.of(nonce)) >= times, within_s=within_s):
        raise AssertionError(f"nonce {nonce} was offered {len(rig.pool.of(nonce))} times: {rig.bot.err}")
    return rig.pool.of(nonce)[-1]


async def held(rig: Rig, nonce: int) -> Pooled:
    """Let the purchase begin and its transaction of this nonce lie in the pool; return it."""
    rig.pool.at[nonce] = Mode.HOLD
    rig.resume()
    await rig.mine()
    return await offered(rig, nonce)


async def let_go(rig: Rig, nonce: int) -> None:
    """Let what is held be mined, and all that follows."""
    await rig.pool.release()
    rig.pool.at.pop(nonce, None)


async def bought(rig: Rig, *, blocks: int = 30) -> tuple[str, ...]:
    """Mine until the purchase that is wanted is booked and nothing is open; say what is wrong otherwise."""
    for _ in range(blocks):
        if (rig.filled() and not rig.open_work()) or not await rig.supervised():
            break
        await rig.step(within_s=_POLL_WITHIN_S)
    said = f"the bot is {'up' if rig.is_up() else 'down'} and said {rig.bot.err[-500:]!r}"
    return (
        *unless(not rig.open_work(), f"orders are open still: {rig.open_work()}; {said}"),
        *unless(rig.filled() == 1, f"one purchase was wanted, booked are {rig.outcomes()}; {said}"),
    )


async def told(rig: Rig, start_s: float, *kinds: str) -> tuple[str, ...]:
    """Wait until a person was told; say so when nobody was."""
    heard = await rig.until(lambda: rig.alarms.since(start_s, *kinds), within_s=15.0)
    return unless(heard, f"nobody was told{' of ' if kinds else ''}{', '.join(kinds)}")


async def halted(rig: Rig, *, within_s: int = 40) -> int:
    """Mine until the bot ends by itself, as it must; return its exit code, -9 when it does not."""
    running = rig.running.pop("bot")
    for _ in range(within_s):
        if await rig.until(lambda: not running.is_alive, within_s=1.0):
            break
        await rig.mine()
    return await rig.ended(running, within_s=1.0)


def same_bytes(rig: Rig, *nonces: int) -> Iterator[str]:
    """Yield what is wrong where other bytes than the first were offered for a nonce."""
    for nonce in nonces:
        if len(found := rig.pool.of(nonce)) > 1:
            yield f"nonce {nonce} was signed {len(found)} times: {[item.hash for item in found]}"


def replacements(rig: Rig, nonce: int) -> Iterator[str]:
    """Yield what is wrong with what replaced the first transaction of a nonce."""
    first, *others = rig.pool.of(nonce)
    for item in others:
        if (item.to, item.data, item.value_wei) != (first.to, first.data, first.value_wei):
            yield f"nonce {nonce}: {item.hash} does something else than {first.hash}"
        if 10 * item.max_fee_wei < 11 * first.max_fee_wei or 10 * item.tip_wei < 11 * first.tip_wei:
            yield f"nonce {nonce}: {item.hash} pays less than 10 % more than {first.hash}"


def intents(rig: Rig) -> dict[int, tuple[str, str, str]]:
    """Return nonce -> (state, hash that counts, reason) of the newest row of each intent."""
    return rig.journalled(
        lambda journal: {
            item.nonce: (item.state.value, item.tx_hash, item.because) for item in journal.intents()
        },
        {},
    )


def outcomes(rig: Rig) -> tuple[LegOutcome, ...]:
    """Return the orders that have ended, as they are booked."""
    return rig.journalled(lambda journal: journal.outcomes(), ())


def reasons(rig: Rig) -> str:
    """Return why orders ended as they did."""
    return "; ".join(f"{item.status.value}: {item.because}" for item in outcomes(rig))
