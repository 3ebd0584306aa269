"""What would protection cost now: no key, one block, nothing kept; prices that a run has kept count."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from bot.app.lp_parts import managers_of, one_position_reader, pair_terms, pools, position_readers
from bot.app.one_moment import moment_at
from bot.app.parts import open_chain, web_client
from bot.app.quoting import open_quoting
from bot.app.stores import history_place
from bot.chain.address import Address
from bot.chain.reader import JsonRpcReader
from bot.engine.group import Group, read_group
from bot.engine.market_view import MarketView, market_view
from bot.engine.policy import Policy
from bot.engine.protection import Protection, price_protection
from bot.engine.replicate import GroupReplication, replicate
from bot.errors import ConfigError, DeadlineError, NotFoundError, StaleDataError, TransientError
from bot.model.exposure import Exposure
from bot.model.hedge import Quote
from bot.model.market import Block, Columns, Frame
from bot.model.refused import refused
from bot.model.tier import Tier
from bot.model.units import DAY_S
from bot.pipeline.loop import Moment, quote_sizes, view_of
from bot.pipeline.stored_prices import with_stored_prices
from bot.ports import PositionReader, Venue
from bot.settings import PositionSettings, Settings, load_policy
from bot.watchers.positions import find_positions

_NO_V4 = "v4 positions are not looked for in a wallet: name them with --position v4:TOKEN_ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Protection of every hedge group at every tier, at one block, and the market that it is priced in."""

    block: Block
    exposures: tuple[Exposure, ...]
    protections: tuple[Protection, ...]
    left_out: tuple[str, ...] = ()
    markets: tuple[MarketView, ...] = ()  # of each underlying of options
    replications: tuple[GroupReplication, ...] = ()  # of each group


async def plan(settings: Settings, *, positions: Sequence[str], wallet: str | None) -> Plan:
    """Price protection of the positions named, of a wallet, or of the configured ones.

    Raises NotFoundError when there is nothing to protect or no venue quotes.
    """
    policy = load_policy(settings.policy)
    async with (
        open_chain(settings) as (_, reader),
        web_client(settings) as web,
        open_quoting(settings, reader, web, policy) as market,
    ):
        venues = market.options
        if not venues:
            raise ConfigError("a plan needs quotes; add [indicative] or [lyra] to the configuration")
        block = await reader.head()
        found, left_out = await _readers(settings, reader, block, positions, wallet)
        moment = await moment_at(settings, reader, found, block)
        if moment.holds:
            raise NotFoundError("; ".join(moment.holds))
        quotes, unread = await _quotes(policy, venues, moment)
        columns, unstored = _columns(settings, policy, moment)
        frame = Frame(
            now_s=moment.now_s,
            blocks=moment.blocks,
            columns=columns,
            exposures=moment.exposures,
            quotes=quotes,
        )
    groups = read_groups(policy, frame)
    return Plan(
        block=block,
        exposures=moment.exposures,
        protections=_protections(policy, frame),
        left_out=(*left_out, *unread, *unstored),
        markets=markets_of(policy, frame, groups),
        replications=tuple(replicate(policy, frame, group) for group in groups),
    )


def _columns(settings: Settings, policy: Policy, moment: Moment) -> tuple[Columns, tuple[str, ...]]:
    """Return the moment's columns behind the prices that a run of this configuration has kept."""
    names = {item.underlying for item in moment.exposures} | set(policy.sizing.factors.assets)
    try:
        found = with_stored_prices(
            moment.columns,
            history_place(settings),
            sorted(names),
            now_s=moment.now_s,
            look_back_s=(policy.sizing.history_days + 1) * DAY_S,
        )
    except ConfigError as error:
        return moment.columns, (str(error),)
    return found, ()


def read_groups(policy: Policy, frame: Frame) -> tuple[Group, ...]:
    """Return every hedge group that has a position."""
    names = sorted({item.group for item in frame.exposures})
    return tuple(read_group(policy, frame, name) for name in names)


def markets_of(policy: Policy, frame: Frame, groups: Sequence[Group]) -> tuple[MarketView, ...]:
    """Return what the quotes say of each underlying that the groups' options are on."""
    first = {group.hedged_by: group for group in reversed(groups)}
    return tuple(market_view(policy, frame, first[name]) for name in sorted(first))


async def _quotes(
    policy: Policy, venues: Sequence[Venue], moment: Moment
) -> tuple[tuple[Quote, ...], tuple[str, ...]]:
    """Return what the venues quote, and what is missing where one of several could not be read."""
    view = view_of(moment)
    sizes = quote_sizes(policy, moment.exposures, view)
    found: list[Quote] = []
    unread: list[str] = []
    for venue in venues:
        try:
            for underlying, size in sizes.items():
                found.extend(await venue.quotes(view, underlying=underlying, size=size))
        except (TransientError, StaleDataError) as error:
            unread.append(f"quotes of {venue.name}: {error}")
            if len(venues) == len(unread):
                kinds = (DeadlineError, TransientError, StaleDataError)
                kind = next(item for item in kinds if isinstance(error, item))
                raise kind("; ".join(unread)) from None
    return tuple(found), tuple(unread)


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
            manager=managers_of(settings, settings.chain.id).v3_position_manager,
            terms=pair_terms(settings),
        )
        has_v4 = any(item.kind == "uniswap_v4" for item in volatile)
        left_out = (*found.left_out, _NO_V4) if has_v4 else found.left_out
        if not found.exposures:
            names = ", ".join(item.label for item in volatile if item.label in known)
            raise NotFoundError(
                "; ".join((f"wallet {wallet} holds no position in {names or 'a configured pool'}", *left_out))
            )
        return (_Fixed(found.exposures),), left_out
    if positions:
        named = [_parse_position(text, settings) for text in positions]
        return tuple(one_position_reader(settings, item) for item in named), ()
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
    """Return v3:TOKEN_ID, v4:TOKEN_ID or v2:HOLDER as settings of the first configured pool of its kind."""
    version, _, name = text.partition(":")
    underlyings = {item.underlying for item in settings.feeds}
    for pool in settings.pools:
        on_home = settings.chain_of(pool) == settings.chain.id
        if on_home and pool.kind == f"uniswap_{version}" and pool.base_symbol in underlyings:
            break
    else:
        raise ConfigError(
            f"--position {refused(text)}: must be v3:TOKEN_ID, v4:TOKEN_ID or v2:HOLDER_ADDRESS, "
            "with a pool of that kind configured"
        )
    try:
        if version == "v2":
            return PositionSettings(kind=pool.kind, pool=pool.label, holder=name)
        return PositionSettings(kind=pool.kind, pool=pool.label, token_id=int(name))
    except ValueError:
        wanted = "a 0x address" if version == "v2" else "a whole number"
        raise ConfigError(f"--position {refused(text)}: {wanted} must follow {version}:") from None
