"""Means and approvals of the accounts that move the market. They are the market, not the bot."""

from bot.devnet.deployment import Deployment
from bot.devnet.moves.pools import UNLIMITED
from bot.devnet.moves.wire import Tx, calldata

_PERP_MARGIN_RAW = 50_000_000 * 10**6
_WHALE_WETH_WEI = 5_000 * 10**18
_WHALE_USDC_RAW = 15_000_000 * 10**6


def preparation(deployment: Deployment) -> list[Tx]:
    """Return one block of transactions: approvals, the trader's margin, the whale's means to add."""
    place, trader, whale, deployer = deployment, deployment.trader, deployment.whale, deployment.deployer
    approvals = (
        (trader, place.weth, place.v2_router), (trader, place.usdc, place.v2_router),
        (trader, place.weth, place.v3_router), (trader, place.usdc, place.v3_router),
        (trader, place.susd, place.v3_router), (trader, place.usdc, place.perp_vault),
        (whale, place.v2_pair, place.v2_router), (whale, place.weth, place.v2_router),
        (whale, place.usdc, place.v2_router), (whale, place.weth, place.v3_position_manager),
        (whale, place.usdc, place.v3_position_manager),
    )  # fmt: skip
    mint = "mint(address,uint256)"
    return [
        _tx("USDC for the trader's margin", deployer, place.usdc, calldata(mint, trader, _PERP_MARGIN_RAW)),
        _tx("USDC for the whale", deployer, place.usdc, calldata(mint, whale, _WHALE_USDC_RAW)),
        _tx("WETH for the whale", whale, place.weth, calldata("deposit()"), value_wei=_WHALE_WETH_WEI),
        *(
            _tx("an approval", owner, token, calldata("approve(address,uint256)", spender, UNLIMITED))
            for owner, token, spender in approvals
        ),
        _tx(
            "the trader's margin",
            trader,
            place.perp_vault,
            calldata("deposit(address,uint256)", place.usdc, _PERP_MARGIN_RAW),
        ),
    ]


def _tx(purpose: str, sender: str, to: str, data: str, *, value_wei: int = 0) -> Tx:
    return Tx(purpose=purpose, sender=sender, to=to, data=data, gas=500_000, value_wei=value_wei)
