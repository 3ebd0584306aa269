"""Builds what reads pools and LP positions from settings: pools, their contracts, position readers."""

from collections.abc import Mapping

from bot.deployments import known
from bot.errors import ConfigError
from bot.ports import PositionReader
from bot.settings import ManagerSettings, PoolSettings, PositionSettings, Settings
from bot.watchers.pools import Pool
from bot.watchers.positions import V2PositionReader, V3PositionReader, V4PositionReader
from bot.watchers.positions.deposits import DepositedPosition
from bot.watchers.positions.staked import LpStaker, NftStaker
from bot.watchers.positions.v2 import UNISWAP_V2, PairTerms
from bot.watchers.v4_pools import ZERO_ADDRESS, V4Pool

Reader = V2PositionReader | V3PositionReader | V4PositionReader

# A version's contracts belong together: those of a fork are never mixed with the known ones.
_KNOWN = (
    {
        "v3_position_manager": "uniswap_v3.position_manager",
        "v3_factory": "uniswap_v3.factory",
        "v3_tick_lens": "uniswap_v3.tick_lens",
    },
    {
        "v4_position_manager": "uniswap_v4.position_manager",
        "v4_pool_manager": "uniswap_v4.pool_manager",
        "v4_state_view": "uniswap_v4.state_view",
    },
)


def managers_of(settings: Settings | None, chain_id: int) -> ManagerSettings:
    """Return the contracts of a chain: those of [managers] on the home chain, else the known deployments."""
    own = settings.managers if settings is not None and chain_id == settings.chain.id else None
    deployed = known(chain_id).contracts
    found: dict[str, str] = {}
    for names in _KNOWN:
        given = {key: getattr(own, key) for key in names if getattr(own, key, None) is not None}
        found |= given or {key: deployed[name].address for key, name in names.items() if name in deployed}
    return ManagerSettings(**found)


def pools(settings: Settings) -> dict[str, Pool]:
    """Return the configured v2 and v3 pools of all chains by label."""
    return {item.label: Pool(**item.fields) for item in settings.pools if item.kind != "uniswap_v4"}


def pair_terms(settings: Settings) -> dict[str, PairTerms]:
    """Return fee and protocol of the configured v2 pairs by label."""
    return {item.label: terms_of(item) for item in settings.pools if item.kind == "uniswap_v2"}


def terms_of(item: PoolSettings) -> PairTerms:
    fee = UNISWAP_V2.fee if item.fee is None else item.fee / 1e6
    return PairTerms(fee=fee, protocol=item.protocol or UNISWAP_V2.protocol)


def v4_pool(settings: Settings, item: PoolSettings) -> V4Pool:
    """Return a configured v4 pool. Raises ConfigError when its PoolManager is not known."""
    chain_id = settings.chain_of(item)
    managers = managers_of(settings, chain_id)
    if managers.v4_pool_manager is None:
        raise ConfigError(
            f"pool {item.label}: no v4 PoolManager is known on chain {chain_id}; add managers.v4_pool_manager"
        )
    if item.fee is None or item.tick_spacing is None:  # the settings refuse that
        raise ConfigError(f"pool {item.label} needs fee and tick_spacing")
    return V4Pool(
        label=item.label,
        manager=managers.v4_pool_manager,
        state_view=managers.v4_state_view,
        base=item.base_symbol,
        quote=item.quote_symbol,
        base_token=item.base,
        quote_token=item.quote,
        base_decimals=item.base_decimals,
        quote_decimals=item.quote_decimals,
        fee=item.fee,
        tick_spacing=item.tick_spacing,
        hooks=item.hooks or ZERO_ADDRESS,
    )


def position_readers(
    settings: Settings, chain_id: int | None = None, *, with_deposits: bool = False
) -> tuple[PositionReader, ...]:
    """Return one reader per configured position of a chain, the home chain by default.

    ``with_deposits`` also looks for what was deposited, beside the reading: see DepositedPosition. Raises
    ConfigError for a position that is not complete.
    """
    chain_id = settings.chain.id if chain_id is None else chain_id
    own = [item for item in settings.positions if settings.chain_of(item) == chain_id]
    readers = [(item, one_position_reader(settings, item)) for item in own]
    if not with_deposits:
        return tuple(reader for _, reader in readers)
    manager = managers_of(settings, chain_id).v3_position_manager
    return tuple(
        DepositedPosition(reader, manager=manager, look_back=item.look_back, entry_price=item.entry_price)
        for item, reader in readers
    )


def one_position_reader(settings: Settings, item: PositionSettings) -> Reader:
    """Return the reader of a configured position. Raises ConfigError for one that is not complete."""
    pool = pool_of(settings, item)
    _refuse_needless(item)
    if item.kind == "uniswap_v2":
        if item.holder is None:
            raise ConfigError(f"positions: the v2 position in {item.pool} needs a holder address")
        terms = terms_of(pool)
        return V2PositionReader(
            holder=item.holder,
            pool=Pool(**pool.fields),
            staker=LpStaker(address=item.staker, pool_id=item.pid) if item.staker else None,
            fee=terms.fee,
            protocol=terms.protocol,
        )
    version = item.kind[-2:]
    if item.token_id is None:
        raise ConfigError(f"positions: the {version} position in {item.pool} needs a token_id")
    chain_id = settings.chain_of(item)
    managers = managers_of(settings, chain_id)
    manager: str | None = getattr(managers, f"{version}_position_manager")
    if manager is None:
        raise ConfigError(
            f"positions: the {version} position in {item.pool} needs managers.{version}_position_manager; "
            f"none is known on chain {chain_id}"
        )
    if item.kind == "uniswap_v4":
        return V4PositionReader(token_id=item.token_id, pool=v4_pool(settings, pool), manager=manager)
    return V3PositionReader(
        token_id=item.token_id,
        pool=Pool(**pool.fields),
        manager=manager,
        staker=NftStaker(address=item.staker, depositor=item.holder) if item.staker else None,
        protocol=pool.protocol or "uniswap-v3",
    )


def pool_of(settings: Settings, item: PositionSettings) -> PoolSettings:
    """Return the pool that a position names, of its kind and on its chain."""
    labels: Mapping[str, PoolSettings] = {pool.label: pool for pool in settings.pools}
    pool = labels.get(item.pool)
    if pool is None:
        raise ConfigError(
            f"positions: pool {item.pool!r} is not configured; there are {', '.join(labels) or 'none'}"
        )
    if pool.kind != item.kind:
        raise ConfigError(f"positions: the pool {item.pool} is a {pool.kind}, the position a {item.kind}")
    if settings.chain_of(pool) != settings.chain_of(item):
        raise ConfigError(
            f"positions: the pool {item.pool} is on chain {settings.chain_of(pool)}, the position on "
            f"{settings.chain_of(item)}; give both the same chain"
        )
    return pool


def _refuse_needless(item: PositionSettings) -> None:
    """Refuse keys that would be ignored: who wrote them meant another position."""
    is_v2, is_staked = item.kind == "uniswap_v2", item.staker is not None
    needless = {
        "token_id": item.token_id is not None and is_v2,
        "staker": is_staked and item.kind == "uniswap_v4",
        "pid": item.pid is not None and not (is_v2 and is_staked),
        "holder": item.holder is not None and not (is_v2 or (is_staked and item.kind == "uniswap_v3")),
    }
    for key, is_needless in needless.items():
        if is_needless:
            staked = "" if is_staked or key not in ("pid", "holder") else " without a staker"
            raise ConfigError(f"positions: {key} means nothing for a {item.kind} position{staked}; remove it")
