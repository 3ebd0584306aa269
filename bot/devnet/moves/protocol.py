"""What is no market: money that leaves the vault, and the guard that pauses the lending market."""

from bot.devnet.deployment import Deployment
from bot.devnet.moves.wire import Tx, View, calldata


def vault_view(deployment: Deployment) -> View:
    return View(deployment.usdc_vault, "totalAssets()", (), ("uint256",))


def vault_change(deployment: Deployment, *, change_raw: int) -> list[Tx]:
    """Return what takes the whale's USDC out of the vault, or brings back what it took."""
    if change_raw == 0:
        return []
    owner = deployment.whale
    if change_raw < 0:
        data = calldata("withdraw(uint256,address,address)", -change_raw, owner, owner)
    else:
        data = calldata("deposit(uint256,address)", change_raw, owner)
    return [
        Tx(
            purpose=f"vault {change_raw:+d} by the whale",
            sender=owner,
            to=deployment.usdc_vault,
            data=data,
            gas=300_000,
        )
    ]


def configurator_view(deployment: Deployment) -> View:
    return View(deployment.aave_addresses_provider, "getPoolConfigurator()", (), ("address",))


def pause(deployment: Deployment, configurator: str, *, is_paused: bool) -> list[Tx]:
    """Return what pauses the reserves of the lending market, or lets them go on: its emergency admin does."""
    return [
        Tx(
            purpose=f"pause of {token} set to {is_paused}",
            sender=deployment.deployer,
            to=configurator,
            data=calldata("setReservePause(address,bool)", token, is_paused),
            gas=300_000,
        )
        for token in (deployment.weth, deployment.usdc)
    ]
