"""Puts together what acts on positions and loans (R21, R29) from the settings; nothing is read or sent.

What cannot be acted on is named with the reason: it is refused when it is asked for, not left out in silence.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from bot.venues.aave_reserve import AaveReserve
from bot.venues.planned_account import PlannedAccount
from bot.venues.priced_token import PricedToken
from bot.venues.prices import Money
from bot.venues.uniswap_exit import V2Exit, V3Exit
from bot.venues.uniswap_v4_exit import V4Exit
from bot.venues.withdrawal import ExitPair

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
    for subject, make in _subjects(_Parts(settings=settings, reader=reader, policy=policy, owner=account)):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What every adapter is made of."""

    settings: Settings
    reader: ChainReader
    policy: Policy
    owner: str | None  # whose positions and loans may be acted on

    @property
    def chain_id(self) -> int:
        return self.settings.chain.id

    def token(self, symbol: str, address: str, decimals: int) -> PricedToken:
        is_stable = symbol in self.policy.signals.stables
        return PricedToken(symbol=symbol, address=address, decimals=decimals, is_stable=is_stable)

    def pair(self, pool: PoolSettings) -> ExitPair:
        """Return both tokens of a pool in Uniswap's order, which is that of the addresses."""
        base = self.token(pool.base_symbol, pool.base, pool.base_decimals)
        quote = self.token(pool.quote_symbol, pool.quote, pool.quote_decimals)
        base_is_token0 = int(base.address, 16) < int(quote.address, 16)
        first, second = (base, quote) if base_is_token0 else (quote, base)
        return ExitPair(
            token0=first,
            token1=second,
            base_is_token0=base_is_token0,
            underlying=pool.base_symbol,
            limits=self.settings.exit.limits,
        )


def _subjects(parts: _Parts) -> Iterator[tuple[str, Callable[[], AccountAdapter]]]:
    for position in parts.settings.positions:
        yield subject_of(position), partial(_exit, parts, position)
    for loan in parts.settings.loans:
        yield loan.position, partial(_reserve, parts, loan)


def _exit(parts: _Parts, item: PositionSettings) -> AccountAdapter:
    """Return the way out of a position. Raises ConfigError where the account has none."""
    subject, chain_id = subject_of(item), parts.settings.chain_of(item)
    if chain_id != parts.chain_id:
        raise ConfigError(
            f"{subject} is on chain {chain_id}, withdrawals are sent on the home chain "
            f"{parts.chain_id} alone; withdraw by hand"
        )
    if item.staker is not None:
        raise ConfigError(f"{subject} is staked with {item.staker}; take it out there, then withdraw by hand")
    if not parts.owner:
        raise ConfigError(f"{subject}: no [account] is configured that could withdraw it")
    make = {"uniswap_v2": _v2, "uniswap_v3": _v3, "uniswap_v4": _v4}[item.kind]
    return make(parts, item, pool_of(parts.settings, item), parts.owner)


def _v2(parts: _Parts, item: PositionSettings, pool: PoolSettings, owner: str) -> AccountAdapter:
    if item.holder is None or pool.address is None or item.holder.lower() != owner.lower():
        raise ConfigError(f"{pool.label} belongs to {item.holder}, this bot signs for {owner}")
    router = parts.settings.exit.v2_router
    if router is None and not pool.protocol:  # the known router takes nothing out of a fork's pairs
        deployed = known(parts.chain_id).contracts.get("uniswap_v2.router")
        router = deployed.address if deployed is not None else None
    if router is None:
        raise ConfigError(f"{pool.label}: its router is not known; add exit.v2_router")
    return V2Exit(
        reader=parts.reader,
        account=owner,
        router=router,
        pool=pool.address,
        label=pool.label,
        pair=parts.pair(pool),
    )


def _v3(parts: _Parts, item: PositionSettings, pool: PoolSettings, owner: str) -> AccountAdapter:
    manager = managers_of(parts.settings, parts.chain_id).v3_position_manager
    if manager is None or item.token_id is None or pool.address is None:
        raise ConfigError(f"{subject_of(item)} needs managers.v3_position_manager, token_id and its pool")
    return V3Exit(
        reader=parts.reader,
        account=owner,
        manager=manager,
        token_id=item.token_id,
        pool=pool.address,
        pair=parts.pair(pool),
    )


def _v4(parts: _Parts, item: PositionSettings, pool: PoolSettings, owner: str) -> AccountAdapter:
    managers = managers_of(parts.settings, parts.chain_id)
    found = v4_pool(parts.settings, pool)
    if managers.v4_position_manager is None or found.state_view is None or item.token_id is None:
        raise ConfigError(
            f"{subject_of(item)} needs managers.v4_position_manager and managers.v4_state_view to leave"
        )
    return V4Exit(
        reader=parts.reader,
        account=owner,
        positions=managers.v4_position_manager,
        pool_manager=found.manager,
        state_view=found.state_view,
        token_id=item.token_id,
        key=found.key,
        pair=parts.pair(pool),
    )


def _reserve(parts: _Parts, item: LoanSettings) -> AaveReserve:
    """Return how a loan is paid for. Raises ConfigError where it is not the account's, or has no pool."""
    if item.pool is None:
        raise ConfigError(
            f"loan {item.position}: where it is paid is not known; add pool and debt_token under [[loans]]"
        )
    if not parts.owner:
        raise ConfigError(f"loan {item.position}: no [account] is configured that could pay for it")
    for borrower in _borrowers(parts.settings, item.position):
        if borrower.lower() != parts.owner.lower():
            raise ConfigError(f"loan {item.position} is of {borrower}, this bot signs for {parts.owner}")

    def token(symbol: str, address: str | None, decimals: int | None) -> PricedToken | None:
        return None if address is None or decimals is None else parts.token(symbol, address, decimals)

    return AaveReserve(
        reader=parts.reader,
        account=parts.owner,
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
