"""Orders beside the hedges as a report tells them: of cover (R20), on positions and loans (R21, R29)."""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.model.account_order import AccountOutcome
from bot.model.base_layers import Action
from bot.model.cover import CoverOutcome
from bot.model.hedge import LegStatus
from bot.model.units import DAY_S
from bot.simulation.wording import percent, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideOrder:
    """What became of one. Money is USD; what moved of a position or loan stays the account's own."""

    at_s: float
    kind: str  # "COVER", "EXIT" or "LOAN"
    words: str
    premium_usd: float
    gas_usd: float
    tx_hash: str
    because: str
    reconciled: bool  # found out after the fact, before the marks of its step


def beside_orders(
    accounts: Iterable[AccountOutcome], covers: Iterable[CoverOutcome]
) -> tuple[BesideOrder, ...]:
    """Return them all, oldest first."""
    found = [*map(_account, accounts), *map(_cover, covers)]
    return tuple(sorted(found, key=lambda item: item.at_s))


def _account(item: AccountOutcome) -> BesideOrder:
    order = item.order
    is_exit = order.action is Action.WITHDRAW
    how_much = percent(order.part) if is_exit else usd(order.amount_usd)
    return BesideOrder(
        at_s=item.at_s,
        kind="EXIT" if is_exit else "LOAN",
        words=_said(f"{order.action} {how_much} of {order.subject}", item.status, item.because),
        premium_usd=0.0,
        gas_usd=item.gas_usd,
        tx_hash=item.tx_hash,
        because=order.because,
        reconciled=item.reconciled,
    )


def _cover(item: CoverOutcome) -> BesideOrder:
    order = item.order
    what = f"cover of {order.group}, {usd(order.amount_usd)} for {order.period_s / DAY_S:g} days"
    return BesideOrder(
        at_s=item.at_s,
        kind="COVER",
        words=_said(what, item.status, item.because),
        premium_usd=item.premium_usd,
        gas_usd=item.gas_usd,
        tx_hash=item.tx_hash,
        because=order.because,
        reconciled=item.reconciled,
    )


def _said(what: str, status: LegStatus, because: str) -> str:
    why = f": {because}" if because and status is not LegStatus.FILLED else ""
    return f"{what}: {status}{why}"
