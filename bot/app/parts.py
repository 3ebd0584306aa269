"""Builds the parts that settings name: watchers and sources; pools and positions are in lp_parts."""

from collections.abc import Iterator

from bot.app.lp_parts import managers_of, terms_of, v4_pool
from bot.app.lp_parts import one_position_reader as one_position_reader
from bot.app.lp_parts import pools as pools
from bot.app.lp_parts import position_readers as position_readers
from bot.app.nodes import open_chain as open_chain
from bot.errors import ConfigError
from bot.model.market import SeriesKey
from bot.pipeline.cadence import Scheduled
from bot.ports import Watcher, WebSource
from bot.settings import PoolSettings, Settings, WatchSettings
from bot.venues.indicative import indicative_book
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.lyra_iv import LyraIvWatcher
from bot.watchers.perp_v2_funding import PerpV2FundingWatcher
from bot.watchers.pools import Pool
from bot.watchers.tvl import Token, TvlWatcher
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher, UniswapV3Watcher
from bot.watchers.uniswap_v4 import UniswapV4Watcher
from bot.watchers.web.client import WebClient, rates_of


def watchers(settings: Settings, chain_id: int | None = None) -> tuple[Watcher, ...]:
    """Return one watcher per configured source of a chain, the home chain by default."""
    return tuple(item.watcher for item in scheduled(settings, chain_id))


def scheduled(settings: Settings, chain_id: int | None = None) -> tuple[Scheduled, ...]:
    """Return the watchers of a chain with how often each is read."""
    chain_id = settings.chain.id if chain_id is None else chain_id
    own = [Scheduled(watcher=item) for item in _of_sections(settings, chain_id)]
    tables = [item for item in settings.watch if not item.is_web and settings.chain_of(item) == chain_id]
    return (*own, *(_scheduled(item) for item in tables))


def own_watchers(settings: Settings, chain_id: int) -> tuple[Scheduled, ...]:
    """Return the watchers of a chain that this process reads itself: none where others watch it."""
    return () if settings.chain_named(chain_id).watched_elsewhere else scheduled(settings, chain_id)


def web_sources(settings: Settings) -> tuple[WebSource, ...]:
    """Return the configured HTTP sources."""
    return tuple(item.source for item in settings.watch if item.is_web)


def web_client(settings: Settings) -> WebClient:
    """Return the client that reads the HTTP sources, at the rate that each allows."""
    return WebClient(
        timeout_s=settings.web.timeout_s,
        contact=settings.web.contact,
        rates=rates_of((*web_sources(settings), *_books(settings))),
    )


def _books(settings: Settings) -> tuple[object, ...]:
    """Return the public option book, whose host has a rate of its own too."""
    shown = settings.indicative
    return (indicative_book(shown.venue, base_url=shown.base_url),) if shown is not None else ()


def all_series(settings: Settings) -> list[SeriesKey]:
    """Return every series that the configuration is to produce, the home chain's first."""
    on_chains = [
        key for chain in settings.all_chains for item in watchers(settings, chain.id) for key in item.series
    ]
    return [*on_chains, *(key for source in web_sources(settings) for key in source.series)]


def fed_series(settings: Settings) -> dict[int, tuple[SeriesKey, ...]]:
    """Return, by chain, the series that processes of `alvh watch` write."""
    return {
        chain.id: tuple(key for item in watchers(settings, chain.id) for key in item.series)
        for chain in settings.all_chains
        if chain.watched_elsewhere
    }


def series_elsewhere(settings: Settings) -> frozenset[SeriesKey]:
    """Return every series that this process takes from the store."""
    return frozenset(key for keys in fed_series(settings).values() for key in keys)


def _scheduled(table: WatchSettings) -> Scheduled:
    """Return a watcher at the pace of its table, or at the one that its class names, or at every block."""
    own = getattr(type(table.source), "every_s", 0.0)
    default_s = float(own) if isinstance(own, int | float) else 0.0
    return Scheduled(watcher=table.source, every_s=default_s if table.every_s is None else table.every_s)


def _of_sections(settings: Settings, chain_id: int) -> Iterator[Watcher]:
    """Yield the watchers of the sections that have a name of their own."""
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
            yield from _pool_watchers(settings, item, underlyings)
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


def _pool_watchers(settings: Settings, item: PoolSettings, underlyings: set[str]) -> Iterator[Watcher]:
    if item.kind == "uniswap_v4":
        if item.base_symbol not in underlyings:
            raise ConfigError(
                f"pool {item.label}: a v4 pool keeps no average price, so one of two stables is not watched; "
                f"configure a v3 pool, or a feed of {item.base_symbol}"
            )
        # No TvlWatcher: the PoolManager's balance is that of all pools together.
        yield UniswapV4Watcher(pool=v4_pool(settings, item))
        return
    pool = Pool(**item.fields)
    if item.base_symbol not in underlyings:
        yield UniswapV3StableWatcher(pool=pool)
        return
    if item.kind == "uniswap_v2":
        yield _pair_watcher(item, pool)
    else:
        tick_lens = managers_of(settings, settings.chain_of(item)).v3_tick_lens
        if tick_lens is None:
            raise ConfigError(
                f"pool {item.label} needs managers.v3_tick_lens to read its liquidity; add it to [managers]"
            )
        yield UniswapV3Watcher(pool=pool, tick_lens=tick_lens)
    tokens = (
        Token(symbol=item.base_symbol, address=item.base, decimals=item.base_decimals),
        Token(symbol=item.quote_symbol, address=item.quote, decimals=item.quote_decimals),
    )
    yield TvlWatcher(label=item.label, holder=pool.address, tokens=tokens)


def _pair_watcher(item: PoolSettings, pool: Pool) -> UniswapV2Watcher:
    fee = terms_of(item).fee
    return UniswapV2Watcher(pool=pool, fee=fee, protocol=item.protocol or item.kind)
