"""Lyra's market maker: spot, board vols on a target term structure, new boards and strikes, greeks.

The boards' base vols are set so that the at-the-money vols at constant maturity, as anyone reads them from
the listed boards, are exactly the targets, and otherwise close to the straight term structure between them.
Expired boards are left alone: settling them is open to everybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.devnet.boards import EXPIRY_HOUR_S, Board, board_call, plan_board
from bot.devnet.deployment import Deployment
from bot.devnet.moves.wire import Tx, View, calldata
from bot.model.market import FloatArray
from bot.model.units import DAY_S

PILLARS_DAYS = (7.0, 30.0, 90.0)
# A tenor is listed anew, ``days`` out, when no live board has its days to expiry inside the band.
_TENORS = ((2.0, 8.0, 7), (20.0, 46.0, 30), (60.0, 400.0, 91))
_SAME_IV = 1e-4  # of the vol: a board this close is left as it is
_GRID_MARGIN = 1.05  # strikes are added where the lowest listed one is this far over a fresh grid's lowest
_MAX_STRIKES = 32  # of a board; the greek cache takes 40
_STOP_ADDING_DTE = 2.0
_CUTOFF_S = 12 * 3_600  # to expiry, when trading stops: nobody reads a term structure from such a board
_E18 = 10**18
_STRIKE = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256)"
_DETAILS = ("(uint256,uint256,uint256,bool,uint256[])", f"{_STRIKE}[]", "uint256[]", "uint256")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBoard:
    """A live board. Strikes ascend; a strike's vol is ``base_iv`` x its skew."""

    id: int
    expiry_s: int
    base_iv: float
    strikes_usd: tuple[float, ...]
    skews: tuple[float, ...]

    def dte(self, at_s: float) -> float:
        return (self.expiry_s - at_s) / DAY_S


def skew_at(board: Board | ListedBoard, spot_usd: float) -> float:
    """Skew at the money: straight between strikes in the logarithm of the strike, flat beyond them."""
    return float(np.interp(np.log(spot_usd), np.log(board.strikes_usd), board.skews))


def live_boards_view(deployment: Deployment) -> View:
    return View(deployment.lyra_option_market, "getLiveBoards()", (), ("uint256[]",))


def board_view(deployment: Deployment, board_id: int) -> View:
    return View(deployment.lyra_option_market, "getBoardAndStrikeDetails(uint256)", (board_id,), _DETAILS)


def listed_board(answer: tuple[tuple[int, ...], ...]) -> ListedBoard:
    board, strikes, _, _ = answer
    pairs = sorted((each[1] / _E18, each[2] / _E18) for each in strikes)  # type: ignore[index]
    return ListedBoard(
        id=board[0],
        expiry_s=board[1],
        base_iv=board[2] / _E18,
        strikes_usd=tuple(strike for strike, _ in pairs),
        skews=tuple(skew for _, skew in pairs),
    )


def spot_update(deployment: Deployment, *, price: float) -> Tx:
    key = b"sETH".ljust(32, b"\0")
    data = calldata("setRateAndInvalid(bytes32,uint256,bool)", key, _raw(price), False)
    return _owner_tx(deployment, f"Lyra spot to {price}", deployment.lyra_exchange_rates, data, gas=200_000)


def missing_boards(
    boards: Sequence[ListedBoard], *, at_s: int, spot_usd: float, ivs: Sequence[float]
) -> tuple[Board, ...]:
    """Return the boards to list so that every tenor is there, each at most its ``days`` from now."""
    early = int(
        at_s % DAY_S < EXPIRY_HOUR_S
    )  # before today's expiry hour the same day number is further away
    return tuple(
        plan_board(now_s=at_s, days=days - early, spot_usd=spot_usd, base_iv=_iv_at(days, ivs))
        for low, high, days in _TENORS
        if not any(low <= board.dte(at_s) <= high for board in boards)
    )


def listing(deployment: Deployment, board: Board) -> Tx:
    data = calldata("createOptionBoard(uint256,uint256,uint256[],uint256[],bool)", *board_call(board))
    return _owner_tx(
        deployment, f"Lyra board for {board.expiry_s}", deployment.lyra_option_market, data, gas=12_000_000
    )


def new_strikes(
    deployment: Deployment, board: ListedBoard, *, at_s: int, spot_usd: float, iv: float
) -> list[Tx]:
    """Return lower strikes for a board whose grid the spot has left downwards; mostly none."""
    dte = board.dte(at_s)
    if dte < _STOP_ADDING_DTE:
        return []
    fresh = plan_board(now_s=board.expiry_s - dte * DAY_S, days=round(dte), spot_usd=spot_usd, base_iv=iv)
    lowest = board.strikes_usd[0]
    if lowest <= fresh.strikes_usd[0] * _GRID_MARGIN:
        return []
    anchor = skew_at(board, spot_usd)
    room = max(0, _MAX_STRIKES - len(board.strikes_usd))
    missing = [pair for pair in zip(fresh.strikes_usd, fresh.skews, strict=True) if pair[0] < lowest]
    return [_strike_tx(deployment, board, strike, skew * anchor) for strike, skew in missing[-room:][:room]]


def board_vols(expiries_s: Sequence[int], *, at_s: int, ivs: Sequence[float]) -> dict[int, float]:
    """Return an at-the-money vol per expiry (ascending) such that ``ivs`` hold exactly at the pillars.

    Constant maturity is straight in total variance between boards and flat in vol beyond them, so a pillar
    is linear in the boards' variances: least squares from the straight structure, under those equalities.
    Boards past their trading cutoff just follow the straight structure.
    """
    found = {expiry_s: _iv_at((expiry_s - at_s) / DAY_S, ivs) for expiry_s in expiries_s}
    traded = [expiry_s for expiry_s in expiries_s if expiry_s - at_s > _CUTOFF_S]
    days = np.array([(expiry_s - at_s) / DAY_S for expiry_s in traded])
    start = np.array([found[expiry_s] for expiry_s in traded]) ** 2 * days
    rows = np.array([_weights(days, pillar) for pillar in PILLARS_DAYS])
    gap = np.array([iv * iv * day for iv, day in zip(ivs, PILLARS_DAYS, strict=True)]) - rows @ start
    scale = start**2  # every board moves by about the same share of its variance
    change = scale * (rows.T @ np.linalg.lstsq((rows * scale) @ rows.T, gap, rcond=None)[0])
    vols = np.sqrt(np.maximum(start + change, 0.25 * start) / days)
    return found | {expiry_s: float(vol) for expiry_s, vol in zip(traded, vols, strict=True)}


def vol_update(deployment: Deployment, board: ListedBoard, *, base_iv: float) -> list[Tx]:
    """Return what sets a board's base vol; none where it has it. Lyra wants the board frozen meanwhile."""
    if abs(base_iv / board.base_iv - 1.0) < _SAME_IV:
        return []
    calls = (
        calldata("setBoardFrozen(uint256,bool)", board.id, True),
        calldata("setBoardBaseIv(uint256,uint256)", board.id, _raw(base_iv)),
        calldata("setBoardFrozen(uint256,bool)", board.id, False),
    )
    what = f"Lyra vol of board {board.id} to {base_iv:.4f}"
    return [_owner_tx(deployment, what, deployment.lyra_option_market, data, gas=600_000) for data in calls]


def greeks_update(deployment: Deployment, board_id: int) -> Tx:
    data = calldata("updateBoardCachedGreeks(uint256)", board_id)
    return _owner_tx(
        deployment, f"Lyra greeks of board {board_id}", deployment.lyra_greek_cache, data, gas=9_000_000
    )


def _strike_tx(deployment: Deployment, board: ListedBoard, strike_usd: float, skew: float) -> Tx:
    data = calldata("addStrikeToBoard(uint256,uint256,uint256)", board.id, _raw(strike_usd), _raw(skew))
    what = f"Lyra strike {strike_usd:.0f} on board {board.id}"
    return _owner_tx(deployment, what, deployment.lyra_option_market, data, gas=9_000_000)


def _iv_at(days: float, ivs: Sequence[float]) -> float:
    """Vol of the straight term structure through the pillars."""
    pillars = np.array(PILLARS_DAYS)
    variance = np.array(ivs) ** 2 * pillars
    inside = float(np.clip(days, pillars[0], pillars[-1]))
    return float(np.sqrt(np.interp(inside, pillars, variance) / inside))


def _weights(days: FloatArray, pillar: float) -> FloatArray:
    """Weights of the boards' total variances in the total variance at ``pillar`` days."""
    weights = np.zeros(len(days))
    after = int(np.searchsorted(days, pillar))
    if after in (0, len(days)):
        edge = min(after, len(days) - 1)
        weights[edge] = pillar / days[edge]
        return weights
    share = (pillar - days[after - 1]) / (days[after] - days[after - 1])
    weights[after - 1], weights[after] = 1.0 - share, share
    return weights


def _owner_tx(deployment: Deployment, purpose: str, to: str, data: str, *, gas: int) -> Tx:
    return Tx(purpose=purpose, sender=deployment.deployer, to=to, data=data, gas=gas)


def _raw(value: float) -> int:
    return round(value * 10**9) * 10**9
