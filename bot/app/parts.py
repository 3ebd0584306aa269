"""Builds the parts that settings name: pools, watchers, positions, the venue, the chain."""

from collections.abc import Iterator

from bot.app.nodes import open_chain as open_chain
from bot.chain.reader import JsonRpcReader
from bot.deployments import known
from bot.engine.layers import option_types
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.hedge import Layer
from bot.model.market import SeriesKey
from bot.pipeline.cadence import Scheduled
from bot.ports import PositionReader, Transactor, Watcher, WebSource
from bot.settings import ManagerSettings, PoolSettings, PositionSettings, Settings, WatchSettings
from bot.venues.lyra import LyraVenue
from bot.venues.lyra_reads import LyraContracts
from bot.venues.lyra_terms import LyraTerms
from bot.venues.settlement import SettlementSwap, StablePair, SwapLimits
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.lyra_iv import LyraIvWatcher
from bot.watchers.perp_v2_funding import PerpV2FundingWatcher
from bot.watchers.pools import Pool
from bot.watchers.positions import V2PositionReader, V3PositionReader
from bot.watchers.tvl import Token, TvlWatcher
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher, UniswapV3Watcher
from bot.watchers.web.client import WebClient, rates_of

_DELTA_MARGIN = 0.1  # quotes reach a little past the widest delta band, which moves with the market


def pools(settings: Settings) -> dict[str, Pool]:
    """Return the configured pools of all chains by label."""
    return {item.label: Pool(**item.fields) for item in settings.pools}


def watchers(settings: Settings, chain_id: int | None = None) -> tuple[Watcher, ...]:
    """Return one watcher per configured source of a chain, the home chain by default."""
    return tuple(item.watcher for item in scheduled(settings, chain_id))


def scheduled(settings: Settings, chain_id: int | None = None) -> tuple[Scheduled, ...]:
    """Return the watchers of a chain with how often each is read."""
    chain_id = settings.chain.id if chain_id is None else chain_id
    own = [Scheduled(watcher=item) for item in _of_sections(settings, chain_id)]
    tables = [item for item in settings.watch if not item.is_web and settings.chain_of(item) == chain_id]
    return (*own, *(_scheduled(item) for item in tables))


def web_sources(settings: Settings) -> tuple[WebSource, ...]:
    """Return the configured HTTP sources."""
    return tuple(item.source for item in settings.watch if item.is_web)


def web_client(settings: Settings) -> WebClient:
    """Return the client that reads the HTTP sources, at the rate that each allows."""
    return WebClient(
        timeout_s=settings.web.timeout_s,
        contact=settings.web.contact,
        rates=rates_of(web_sources(settings)),
    )


def all_series(settings: Settings) -> list[SeriesKey]:
    """Return every series that the configuration is to produce, the home chain's first."""
    on_chains = [
        key for chain in settings.all_chains for item in watchers(settings, chain.id) for key in item.series
    ]
    return [*on_chains, *(key for source in web_sources(settings) for key in source.series)]


def position_readers(settings: Settings, chain_id: int | None = None) -> tuple[PositionReader, ...]:
    """Return one reader per configured position of a chain, the home chain by default.

    Raises ConfigError for one that is not complete.
    """
    chain_id = settings.chain.id if chain_id is None else chain_id
    return tuple(
        one_position_reader(settings, item)
        for item in settings.positions
        if settings.chain_of(item) == chain_id
    )


def one_position_reader(settings: Settings, item: PositionSettings) -> PositionReader:
    """Return the reader of a configured position. Raises ConfigError for one that is not complete."""
    return position_reader(item, pools(settings), _managers(settings, settings.chain_of(item)))


def lyra_venue(
    settings: Settings, reader: JsonRpcReader, policy: Policy, *, transactor: Transactor | None
) -> LyraVenue | None:
    """Return the Lyra venue, None when none is configured. Without a transactor it only quotes.

    Quotes are asked for what the policy's layers could want, not for every strike that is listed.
    """
    lyra = settings.lyra
    if lyra is None:
        return None
    pair = StablePair(
        stable=lyra.stable_symbol,
        stable_token=lyra.stable,
        settlement=lyra.settlement_symbol,
        settlement_token=lyra.settlement,
        router=lyra.swap_router,
        quoter=lyra.quoter,
        pool_fee=lyra.settlement_pool_fee,
        stable_decimals=lyra.stable_decimals,
    )
    limits = SwapLimits(slippage_bps=settings.execution.max_swap_slippage_bps)
    contracts = LyraContracts(
        option_market=lyra.option_market,
        option_token=lyra.option_token,
        pricer=lyra.pricer,
        liquidity_pool=lyra.liquidity_pool,
        short_collateral=lyra.short_collateral,
        synthetix_adapter=lyra.synthetix_adapter,
    )
    return LyraVenue(
        reader=reader,
        contracts=contracts,
        swap=SettlementSwap(reader=reader, pair=pair, limits=limits),
        transactor=transactor,
        account=settings.account.address if settings.account else None,
        terms=LyraTerms(
            underlying=lyra.underlying,
            option_types=option_types(policy),
            max_abs_delta=max(policy.layers.of(layer).delta[1] for layer in Layer) + _DELTA_MARGIN,
        ),
    )


def _scheduled(table: WatchSettings) -> Scheduled:
    """Return a watcher at the pace of its table, or at the one that its class names, or at every block."""
    own = getattr(type(table.source), "every_s", 0.0)
    default_s = float(own) if isinstance(own, int | float) else 0.0
    return Scheduled(watcher=table.source, every_s=default_s if table.every_s is None else table.every_s)


def _of_sections(settings: Settings, chain_id: int) -> Iterator[Watcher]:
    """Yield the watchers of the sections that have a name of their own."""
    known_pools = pools(settings)
    underlyings = {item.underlying for item in settings.feeds}
    for feed in settings.feeds:
        if settings.chain_of(feed) == chain_id:
            yield ChainlinkWatcher(
                label=feed.label,
                underlying=feed.underlying,
                address=feed.address,
                heartbeat_s=feed.heartbeat_s,
            )
    for item in settings.pools:
        if settings.chain_of(item) == chain_id:
            managers = _managers(settings, chain_id)
            yield from _pool_watchers(item, known_pools[item.label], managers, underlyings)
    for perp in settings.perps:
        if settings.chain_of(perp) == chain_id:
            yield PerpV2FundingWatcher(
                underlying=perp.underlying,
                exchange=perp.exchange,
                base_token=perp.base_token,
                config=perp.config,
            )
    if (lyra := settings.lyra) is not None and chain_id == settings.chain.id:
        yield LyraIvWatcher(
            underlying=lyra.underlying,
            option_market=lyra.option_market,
            pricer=lyra.pricer,
            synthetix_adapter=lyra.synthetix_adapter,
        )


def _managers(settings: Settings, chain_id: int) -> ManagerSettings | None:
    """Return the contracts of [managers], which are the home chain's; elsewhere the known deployments."""
    if chain_id == settings.chain.id and settings.managers is not None:
        return settings.managers
    names = ("position_manager", "factory", "tick_lens")
    found = [known(chain_id).contracts.get(f"uniswap_v3.{name}") for name in names]
    if chain_id == settings.chain.id or None in found:
        return None
    return ManagerSettings(
        **{f"v3_{name}": item.address for name, item in zip(names, found, strict=True) if item is not None}
    )


def _pool_watchers(
    item: PoolSettings, pool: Pool, managers: ManagerSettings | None, underlyings: set[str]
) -> Iterator[Watcher]:
    if item.base_symbol not in underlyings:
        yield UniswapV3StableWatcher(pool=pool)
        return
    if item.kind == "uniswap_v2":
        yield UniswapV2Watcher(pool=pool)
    elif managers is None:
        raise ConfigError(
            f"pool {item.label} needs managers.v3_tick_lens to read its liquidity; add [managers]"
        )
    else:
        yield UniswapV3Watcher(pool=pool, tick_lens=managers.v3_tick_lens)
    tokens = (
        Token(symbol=item.base_symbol, address=item.base, decimals=item.base_decimals),
        Token(symbol=item.quote_symbol, address=item.quote, decimals=item.quote_decimals),
    )
    yield TvlWatcher(label=item.label, holder=item.address, tokens=tokens)


def position_reader(
    item: PositionSettings, known: dict[str, Pool], managers: ManagerSettings | None
) -> PositionReader:
    """Return the reader of one position. Raises ConfigError when something that it needs is not there."""
    pool = known.get(item.pool)
    if pool is None:
        raise ConfigError(
            f"positions: pool {item.pool!r} is not configured; there are {', '.join(known) or 'none'}"
        )
    if item.kind == "uniswap_v2":
        if item.holder is None:
            raise ConfigError(f"positions: the v2 position in {item.pool} needs a holder address")
        return V2PositionReader(holder=item.holder, pool=pool)
    if item.token_id is None or managers is None:
        raise ConfigError(f"positions: the v3 position in {item.pool} needs a token_id, and [managers]")
    return V3PositionReader(token_id=item.token_id, pool=pool, manager=managers.v3_position_manager)
