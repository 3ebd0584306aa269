"""What would protection cost now: no key, no state, one block."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from bot.app.parts import lyra_venue, open_chain, pools, position_reader, position_readers, watchers
from bot.chain.address import Address
from bot.chain.reader import JsonRpcReader
from bot.engine.policy import Policy
from bot.engine.protection import Protection, price_protection
from bot.errors import ConfigError, NotFoundError
from bot.model.exposure import Exposure
from bot.model.market import Block, Frame
from bot.model.tier import Tier
from bot.pipeline.history import History
from bot.pipeline.loop import quote_sizes, view_of
from bot.pipeline.sources import LiveSource, chain_clock
from bot.ports import PositionReader
from bot.settings import PositionSettings, Settings, load_policy
from bot.watchers.positions import find_positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Protection of every hedge group at every tier, at one block."""

    block: Block
    exposures: tuple[Exposure, ...]
    protections: tuple[Protection, ...]
    left_out: tuple[str, ...] = ()


async def plan(settings: Settings, *, positions: Sequence[str], wallet: str | None) -> Plan:
    """Price protection of the positions named, of a wallet, or of the configured ones.

    Raises NotFoundError when there is nothing to protect or no venue quotes.
    """
    policy = load_policy(settings.policy)
    async with open_chain(settings) as (_, reader):
        block = await reader.head()
        found, left_out = await _readers(settings, reader, block, positions, wallet)
        history = History(key for watcher in watchers(settings) for key in watcher.series)
        source = LiveSource(
            chain=reader, watchers=watchers(settings), positions=found, history=history, clock=chain_clock
        )
        moment = await source.cut(block, now_s=float(block.timestamp_s))
        if moment.holds:
            raise NotFoundError("; ".join(moment.holds))
        frame = Frame(
            now_s=moment.now_s,
            blocks=moment.blocks,
            columns=moment.columns,
            exposures=moment.exposures,
        )
        venue = lyra_venue(settings, reader, policy, transactor=None)
        if venue is None:
            raise ConfigError("a plan needs a venue that quotes; add a [lyra] section to the configuration")
        view = view_of(moment)
        for underlying, size in quote_sizes(policy, moment.exposures, view).items():
            quotes = await venue.quotes(view, underlying=underlying, size=size)
            frame = replace(frame, quotes=(*frame.quotes, *quotes))
    return Plan(
        block=block,
        exposures=moment.exposures,
        protections=_protections(policy, frame),
        left_out=left_out,
    )


def _protections(policy: Policy, frame: Frame) -> tuple[Protection, ...]:
    groups = sorted({item.group for item in frame.exposures})
    return tuple(price_protection(policy, frame, group=group, tier=tier) for group in groups for tier in Tier)


async def _readers(
    settings: Settings,
    reader: JsonRpcReader,
    block: Block,
    positions: Sequence[str],
    wallet: str | None,
) -> tuple[tuple[PositionReader, ...], tuple[str, ...]]:
    known = pools(settings)
    underlyings = {item.underlying for item in settings.feeds}
    if wallet is not None:
        wallet = _parse_wallet(wallet)
        volatile = [item for item in settings.pools if item.base_symbol in underlyings]
        found = await find_positions(
            reader,
            block=block,
            wallet=wallet,
            v2_pools=[known[item.label] for item in volatile if item.kind == "uniswap_v2"],
            v3_pools=[known[item.label] for item in volatile if item.kind == "uniswap_v3"],
            manager=settings.managers.v3_position_manager if settings.managers else None,
        )
        if not found.exposures:
            raise NotFoundError(f"wallet {wallet} holds no position in {', '.join(known)}")
        return (_Fixed(found.exposures),), found.left_out
    if positions:
        named = [_parse_position(text, settings) for text in positions]
        return tuple(position_reader(item, known, settings.managers) for item in named), ()
    if not settings.positions:
        raise NotFoundError("no position is named; give --position or --wallet, or configure [[positions]]")
    return position_readers(settings), ()


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Positions that were read at the same block already."""

    exposures: tuple[Exposure, ...]

    async def read(self, chain: object, *, block: Block) -> tuple[Exposure, ...]:
        del chain, block
        return self.exposures


def _parse_wallet(text: str) -> str:
    try:
        return str(TypeAdapter(Address).validate_python(text))
    except ValidationError as error:
        words = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"--wallet {text!r}: {words}") from None


def _parse_position(text: str, settings: Settings) -> PositionSettings:
    """Return v3:TOKEN_ID or v2:HOLDER as settings of the first configured pool of its kind."""
    kind, _, name = text.partition(":")
    by_kind = {"v2": "uniswap_v2", "v3": "uniswap_v3"}
    underlyings = {item.underlying for item in settings.feeds}
    for pool in settings.pools:
        if by_kind.get(kind) == pool.kind and pool.base_symbol in underlyings:
            break
    else:
        raise ConfigError(
            f"--position {text!r}: must be v3:TOKEN_ID or v2:HOLDER_ADDRESS, "
            "with a pool of that kind configured"
        )
    try:
        if kind == "v2":
            return PositionSettings(kind="uniswap_v2", pool=pool.label, holder=name)
        return PositionSettings(kind="uniswap_v3", pool=pool.label, token_id=int(name))
    except ValueError:
        raise ConfigError(
            f"--position {text!r}: {'a 0x address' if kind == 'v2' else 'a whole number'} must follow {kind}:"
        ) from None
