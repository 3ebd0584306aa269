"""The bot of ``scripts/campaign kills``: does one order, and what the loop does after a crash.

It knows its venue by the ports alone. What it wants is written down before it starts, so that the run after
the kill wants the same, as the journal of a real bot's decisions would have it.
"""

import asyncio
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from bot.app.live import Bot, open_bot
from bot.chain.abi import Abi
from bot.chain.rpc import Rpc, quantity
from bot.errors import OutcomeUnknown, TransientError
from bot.model.hedge import HedgeLeg, Layer, LegStatus, OptionType, Quote, Side
from bot.model.market import Columns
from bot.pipeline import codec
from bot.ports import MarketView, Venue
from bot.settings import Settings, load_settings
from campaign.kill_points import Killer, arm

_VALID_S = 3_600.0
_SLACK = 1.05  # over the quote, for what a swap and a later block may cost


class Action(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    ROLL = "roll"
    APPROVE = "approve"


# Which transaction is killed: a roll dies in its sale or in its purchase, by turns.
_KILLED = {
    Action.OPEN: ("open", Side.BUY),
    Action.CLOSE: ("close", Side.SELL),
    Action.APPROVE: ("approve-", Side.BUY),
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one case wants done, leg by leg."""

    action: Action
    legs: tuple[HedgeLeg, ...]

    @property
    def cap_usd(self) -> float:
        """Most that its purchase may take."""
        return sum(leg.limit_usd * _SLACK for leg in self.legs if leg.side is Side.BUY)

    def save(self, path: Path) -> None:
        legs = [json.loads(codec.dumps(leg)) for leg in self.legs]
        path.write_text(json.dumps({"action": self.action, "legs": legs}), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Order":
        found = json.loads(path.read_text("utf-8"))
        legs = tuple(codec.loads(HedgeLeg, json.dumps(leg)) for leg in found["legs"])
        return cls(action=Action(found["action"]), legs=legs)


def order_file(state: Path) -> Path:
    return state / "order.json"


def run_child(config: Path, state: Path, action: Action, point: str) -> int:
    """Do an order in this process; ``point`` is where it dies. Returns the exit code of one that lived."""
    settings = load_settings(config)
    execution = settings.execution.model_copy(update={"accept_nonce": asyncio.run(_nonce(settings, state))})
    own = settings.model_copy(update={"journal_url": _journal_of(settings, state), "execution": execution})
    asyncio.run(_run(own, state, action, point))
    return 0


async def _nonce(settings: Settings, state: Path) -> int:
    """Return the account's nonce before the case: a new journal knows nothing of the cases before it."""
    path = state / "nonce.txt"
    if not path.exists():
        assert settings.account is not None
        async with Rpc(settings.chain.urls[0], timeout_s=30) as rpc:
            found = await rpc.request("eth_getTransactionCount", [settings.account.address, "latest"])
        path.write_text(str(quantity(found)))
    return int(path.read_text())


def _journal_of(settings: Settings, state: Path) -> Any:
    """A journal of the case's own; the signer's socket and memory stay those of the campaign."""
    return type(settings.journal_url)(f"sqlite:///{state / 'journal.sqlite'}")


async def _run(settings: Settings, state: Path, action: Action, point: str) -> None:
    async with open_bot(settings, mode="live") as bot:
        (venue,) = bot.pipeline.venues.values()
        path = order_file(state)
        if not path.exists():
            (await _ordered(bot, venue, action, state.name)).save(path)
        order = Order.load(path)
        if point:
            purpose, side = _killed(action, state.name)
            arm(Killer(point, purpose, side=side.value, rpc_url=settings.chain.urls[0]))
        await _reconcile(bot, venue)
        outcomes = await _executed(bot, venue, order)
    (state / "outcomes.json").write_text(json.dumps(outcomes), "utf-8")


def _killed(action: Action, name: str) -> tuple[str, Side]:
    if action is Action.ROLL:
        return _KILLED[Action.CLOSE if int(name.rpartition("-")[2]) % 2 else Action.OPEN]
    return _KILLED[action]


async def _reconcile(bot: Bot, venue: Venue) -> None:
    """What the loop does first after a start: say what became of every leg that is open."""
    for leg in bot.pipeline.journal.open_legs():
        try:
            outcome = await venue.reconcile(leg, view=await _view(bot))
        except (OutcomeUnknown, TransientError) as error:
            print(f"{leg.key}: {error}", flush=True)
            continue  # the next start looks again
        print(f"{leg.key}: {outcome.status}, {outcome.because}", flush=True)
        bot.pipeline.journal.close_leg(outcome)


async def _executed(bot: Bot, venue: Venue, order: Order) -> dict[str, str]:
    """Do the legs that were not begun, each after the one before it; return what became of each."""
    journal = bot.pipeline.journal
    for leg in order.legs:
        ended = {item.leg.key: item.status for item in journal.outcomes()}
        if leg.key in ended:
            if ended[leg.key] is not LegStatus.FILLED:
                break
            continue
        if leg.key in {item.key for item in journal.open_legs()}:
            break
        view = await _view(bot)
        journal.open_leg(leg, at_s=view.now_s)
        outcome = await venue.execute(leg, view=view)
        print(f"{leg.key}: {outcome.status}, {outcome.because}", flush=True)
        journal.close_leg(outcome)
    found = {item.leg.key: item.status.value for item in journal.outcomes()}
    return found | {leg.key: "open" for leg in journal.open_legs()}


# what is wanted


async def _ordered(bot: Bot, venue: Venue, action: Action, name: str) -> Order:
    view = await _view(bot)
    legs: tuple[HedgeLeg, ...]
    if action is Action.CLOSE:
        legs = (await _sale(venue, view, name),)
    elif action is Action.ROLL:
        legs = (await _sale(venue, view, name), await _purchase(venue, view, name))
    else:
        legs = (await _purchase(venue, view, name),)
    return Order(action=action, legs=legs)


async def _purchase(venue: Venue, view: MarketView, name: str) -> HedgeLeg:
    quotes = await venue.quotes(view, underlying="ETH", size=1.0)
    puts = [item for item in quotes if item.instrument.option_type is OptionType.PUT]
    quote = min(puts, key=_wing)
    limit_usd = quote.premium_usd * _SLACK
    return HedgeLeg(
        key=f"{name}/buy",
        group="ETH/USDC",
        layer=Layer.TAIL,
        side=Side.BUY,
        instrument=quote.instrument,
        size=quote.size,
        limit_usd=limit_usd,
        expected_usd=quote.premium_usd,
        valid_until_s=view.now_s + _VALID_S,
    )


def _wing(quote: Quote) -> tuple[float, str]:
    """Order puts from a delta of a quarter outwards."""
    return abs(quote.delta + 0.25), quote.instrument.id


async def _sale(venue: Venue, view: MarketView, name: str) -> HedgeLeg:
    held = [item for item in await venue.held(view) if not item.settleable]
    position = max(held, key=lambda item: int(item.id))
    return HedgeLeg(
        key=f"{name}/sell",
        group="ETH/USDC",
        layer=Layer.TAIL,
        side=Side.SELL,
        instrument=position.instrument,
        size=position.size,
        limit_usd=0.0,
        expected_usd=position.liquidation_usd,
        valid_until_s=view.now_s + _VALID_S,
        position_id=position.id,
    )


async def _view(bot: Bot) -> MarketView:
    """What the loop would hand to a venue at the newest block."""
    block = await bot.reader.head()
    lyra = bot.settings.lyra
    if lyra is None:
        raise SystemExit("the configuration names no venue")
    call = Abi.load("SynthetixAdapter").call(
        "getSpotPriceForMarket", lyra.synthetix_adapter, lyra.option_market
    )
    row = (await bot.reader.read([call], block=block))[0]
    if row is None:
        raise TransientError("the venue's price of ETH cannot be read")
    view = MarketView(
        now_s=float(block.timestamp_s),
        block=block,
        columns=Columns(series={}),
        spot_usd={"ETH": row[0] / 1e18},
    )
    return replace(view, stable_usd={lyra.stable_symbol: 1.0, lyra.settlement_symbol: 1.0})
