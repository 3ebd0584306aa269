"""Puts together what acts on positions and loans (R21, R29) from the settings; nothing is read or sent.

What cannot be acted on is named with the reason: it is refused when it is asked for, not left out in silence.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bot.app.lp_parts import managers_of, pool_of, v4_pool
from bot.deployments import known
from bot.engine.policy import Policy
from bot.errors import ConfigError, NotFoundError
from bot.model.account_order import AccountOutcome
from bot.model.base_layers import Action
from bot.model.exposure import Exposure
from bot.model.hedge import LegStatus
from bot.model.market import Block
from bot.ports import AccountAdapter, ChainReader, PositionReader, Proposer, Transactor
from bot.settings import LoanSettings, PoolSettings, PositionSettings, Settings
from bot.venues.aave_reserve import AaveReserve, ReserveToken
from bot.venues.planned_account import PlannedAccount
from bot.venues.prices import Money
from bot.venues.uniswap_exit import ExitToken, V2Exit, V3Exit
from bot.venues.uniswap_v4_exit import V4Exit

_MONEY = Money(settlement="USDC", stable="USDC")  # nothing is bought: only the price of gas is taken
_WHOLE = 1.0


def planned_account(
    settings: Settings,
    reader: ChainReader,
    policy: Policy,
    *,
    custody: Transactor | Proposer | None,
    account: str | None,
) -> PlannedAccount | None:
    """Return what acts on the configured positions and loans, None where none is configured.

    Without ``custody`` it plans and refuses every order.
    """
    adapters: list[AccountAdapter] = []
    refused: dict[str, str] = {}
    for subject, make in _subjects(settings, reader, policy, account):
        try:
            adapters.append(make())
        except ConfigError as error:
            refused[subject] = str(error)
    if not (adapters or refused):
        return None
    return PlannedAccount(adapters, reader=reader, money=_MONEY, custody=custody, refused=refused)


def subject_of(item: PositionSettings) -> str:
    """Return the id that a configured position has as an exposure: "v3:1", "v2:ETH/USDC"."""
    if item.kind != "uniswap_v2":
        return f"{item.kind[-2:]}:{item.token_id}"
    return f"{item.pool}@{item.staker}" if item.staker else item.pool


def _subjects(
    settings: Settings, reader: ChainReader, policy: Policy, account: str | None
) -> Iterator[tuple[str, Callable[[], AccountAdapter]]]:
    owner = account or ""
    for position in settings.positions:
        yield subject_of(position), partial(_exit, settings, reader, policy, position, owner)
    for loan in settings.loans:
        yield loan.position, partial(_reserve, settings, reader, policy, loan, owner)


def _exit(
    settings: Settings, reader: ChainReader, policy: Policy, item: PositionSettings, owner: str
) -> AccountAdapter:
    """Return the way out of a position. Raises ConfigError where the account has none."""
    subject = subject_of(item)
    if settings.chain_of(item) != settings.chain.id:
        raise ConfigError(
            f"{subject} is on chain {settings.chain_of(item)}, withdrawals are sent on the home chain "
            f"{settings.chain.id} alone; withdraw by hand"
        )
    if item.staker is not None:
        raise ConfigError(f"{subject} is staked with {item.staker}; take it out there, then withdraw by hand")
    if not owner:
        raise ConfigError(f"{subject}: no [account] is configured that could withdraw it")
    pool = pool_of(settings, item)
    tokens = _tokens(pool, policy)
    if item.kind == "uniswap_v2":
        return _v2(settings, reader, item, pool, tokens, owner)
    return (_v3 if item.kind == "uniswap_v3" else _v4)(settings, reader, item, pool, tokens, owner)


def _tokens(pool: PoolSettings, policy: Policy) -> tuple[ExitToken, ExitToken]:
    """Return token0 and token1: Uniswap's order is that of the addresses."""
    stables = policy.signals.stables
    both = (
        (pool.base_symbol, pool.base, pool.base_decimals),
        (pool.quote_symbol, pool.quote, pool.quote_decimals),
    )
    first, second = (
        ExitToken(symbol=symbol, address=address, decimals=decimals, is_stable=symbol in stables)
        for symbol, address, decimals in sorted(both, key=lambda each: int(each[1], 16))
    )
    return first, second


def _v2(
    settings: Settings,
    reader: ChainReader,
    item: PositionSettings,
    pool: PoolSettings,
    tokens: tuple[ExitToken, ExitToken],
    owner: str,
) -> V2Exit:
    if item.holder is None or pool.address is None or item.holder.lower() != owner.lower():
        raise ConfigError(f"{pool.label} belongs to {item.holder}, this bot signs for {owner}")
    router = settings.exit.v2_router
    if router is None and not pool.protocol:  # the known router takes nothing out of a fork's pairs
        deployed = known(settings.chain.id).contracts.get("uniswap_v2.router")
        router = deployed.address if deployed is not None else None
    if router is None:
        raise ConfigError(f"{pool.label}: its router is not known; add exit.v2_router")
    return V2Exit(
        reader=reader,
        account=owner,
        router=router,
        pair=pool.address,
        label=pool.label,
        token0=tokens[0],
        token1=tokens[1],
        base_is_token0=tokens[0].address == pool.base,
        underlying=pool.base_symbol,
        limits=settings.exit.limits,
    )


def _v3(
    settings: Settings,
    reader: ChainReader,
    item: PositionSettings,
    pool: PoolSettings,
    tokens: tuple[ExitToken, ExitToken],
    owner: str,
) -> V3Exit:
    manager = managers_of(settings, settings.chain.id).v3_position_manager
    if manager is None or item.token_id is None or pool.address is None:
        raise ConfigError(f"{subject_of(item)} needs managers.v3_position_manager, token_id and its pool")
    return V3Exit(
        reader=reader,
        account=owner,
        manager=manager,
        token_id=item.token_id,
        pool=pool.address,
        token0=tokens[0],
        token1=tokens[1],
        limits=settings.exit.limits,
    )


def _v4(
    settings: Settings,
    reader: ChainReader,
    item: PositionSettings,
    pool: PoolSettings,
    tokens: tuple[ExitToken, ExitToken],
    owner: str,
) -> V4Exit:
    managers = managers_of(settings, settings.chain.id)
    found = v4_pool(settings, pool)
    if managers.v4_position_manager is None or found.state_view is None or item.token_id is None:
        raise ConfigError(
            f"{subject_of(item)} needs managers.v4_position_manager and managers.v4_state_view to leave"
        )
    return V4Exit(
        reader=reader,
        account=owner,
        positions=managers.v4_position_manager,
        pool_manager=found.manager,
        state_view=found.state_view,
        token_id=item.token_id,
        key=found.key,
        token0=tokens[0],
        token1=tokens[1],
        base_is_token0=found.base_is_token0,
        underlying=pool.base_symbol,
        limits=settings.exit.limits,
    )


def _reserve(
    settings: Settings, reader: ChainReader, policy: Policy, item: LoanSettings, owner: str
) -> AaveReserve:
    """Return how a loan is paid for. Raises ConfigError where it is not the account's, or has no pool."""
    if item.pool is None:
        raise ConfigError(
            f"loan {item.position}: where it is paid is not known; add pool and debt_token under [[loans]]"
        )
    if not owner:
        raise ConfigError(f"loan {item.position}: no [account] is configured that could pay for it")
    for borrower in _borrowers(settings, item.position):
        if borrower.lower() != owner.lower():
            raise ConfigError(f"loan {item.position} is of {borrower}, this bot signs for {owner}")
    stables = policy.signals.stables

    def token(symbol: str, address: str | None, decimals: int | None) -> ReserveToken | None:
        if address is None or decimals is None:
            return None
        return ReserveToken(symbol=symbol, address=address, decimals=decimals, is_stable=symbol in stables)

    return AaveReserve(
        reader=reader,
        account=owner,
        label=item.position,
        pool=item.pool,
        collateral=token(item.top_up_asset, item.top_up_token, item.top_up_decimals),
        debt=token(item.debt_asset, item.debt_token, item.debt_decimals),
    )


def _borrowers(settings: Settings, label: str) -> Iterator[str]:
    """Yield whose loan it is, as the watched accounts say."""
    for table in settings.watch:
        for account in getattr(table.source, "accounts", ()):
            if getattr(account, "label", "") == label:
                yield str(account.address)


class WithdrawnPosition:
    """Reads a position that may be withdrawn whole: once it was, that nothing is left is no failure."""

    def __init__(
        self, reader: PositionReader, subject: str, outcomes: Callable[[], tuple[AccountOutcome, ...]]
    ) -> None:
        """``outcomes`` are those of the journal, which alone prove that it left by an order of ours."""
        self._reader, self._subject, self._outcomes = reader, subject, outcomes

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]:
        try:
            return await self._reader.read(chain, block=block)
        except NotFoundError:
            if any(self._left_whole(item, block) for item in self._outcomes()):
                return ()
            raise

    def _left_whole(self, item: AccountOutcome, block: Block) -> bool:
        order = item.order
        return (
            order.action is Action.WITHDRAW
            and order.subject == self._subject
            and order.part >= _WHOLE
            and item.status is LegStatus.FILLED
            and item.block_number <= block.number
        )


def with_withdrawals(
    settings: Settings,
    readers: tuple[PositionReader, ...],
    outcomes: Callable[[], tuple[AccountOutcome, ...]],
) -> tuple[PositionReader, ...]:
    """Return the home chain's position readers, in their order, aware of what was withdrawn."""
    own = [item for item in settings.positions if settings.chain_of(item) == settings.chain.id]
    return tuple(
        WithdrawnPosition(reader, subject_of(item), outcomes)
        for item, reader in zip(own, readers, strict=True)
    )
