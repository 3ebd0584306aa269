"""An ERC-4626 vault of USDC: OpenZeppelin's ERC4626 as Hyperlane publishes it compiled, with a deposit.

It invests nothing: what it earns is what is sent to it, which is also how such vaults are manipulated.
"""

from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from bot.chain.abi import Abi
from bot.devnet.artifacts import Artifact, typechain_creation
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED
from bot.watchers.erc4626 import Erc4626Watcher

DECIMALS = 6  # of the asset and of the share: OpenZeppelin 4.9 adds no offset unless told to
WHALE_USDC = 20_000_000
USER_USDC = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultDeployment:
    """Where the vault lies, and what its asset is."""

    vault: str
    usdc: str

    @property
    def watcher(self) -> Erc4626Watcher:
        """The vault as a watcher is configured on it."""
        return Erc4626Watcher(
            label="vault:USDC",
            vault=self.vault,
            share="vUSDC",
            share_decimals=DECIMALS,
            asset="USDC",
            asset_token=self.usdc,
            asset_decimals=DECIMALS,
        )


async def deploy_vault(bench: Bench, *, usdc: str, user: str, whale: str) -> VaultDeployment:
    """Deploy the vault; ``whale`` and ``user`` deposit USDC that the deployer mints for them."""
    data = _artifact(bench).encode_creation(usdc, "Vault of USD Coin", "vUSDC", libraries={})
    receipt = await bench.transact("creation of ERC4626Test", to=None, data=data)
    found = VaultDeployment(vault=to_checksum_address(receipt["contractAddress"]), usdc=usdc)
    for owner, amount in ((whale, WHALE_USDC), (user, USER_USDC)):
        await bench.at("TestERC20SetDecimals", usdc).send("mint", owner, amount * 10**DECIMALS)
        await deposit(bench, found, owner=owner, amount_raw=amount * 10**DECIMALS)
    return found


async def deposit(bench: Bench, found: VaultDeployment, *, owner: str, amount_raw: int) -> None:
    """Deposit USDC that ``owner`` has."""
    usdc = bench.at("TestERC20SetDecimals", found.usdc)
    await usdc.send("approve", found.vault, UNLIMITED, sender=owner)
    await vault_contract(bench, found).send("deposit", amount_raw, owner, sender=owner)


async def withdraw(bench: Bench, found: VaultDeployment, *, owner: str, amount_raw: int) -> None:
    """Withdraw USDC to its owner."""
    await vault_contract(bench, found).send("withdraw", amount_raw, owner, owner, sender=owner)


def vault_contract(bench: Bench, found: VaultDeployment) -> Contract:
    """The vault as the bench drives it."""
    return Contract(found.vault, _artifact(bench), bench)


def _artifact(bench: Bench) -> Artifact:
    return Artifact(
        name="ERC4626Test",
        abi=Abi.load("ERC4626"),
        constructor=("address", "string", "string"),  # asset, name, symbol
        creation_code=typechain_creation(bench.library.path("ERC4626Test")),
        links={},
    )
