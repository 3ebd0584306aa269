"""What the devnet says of the account, past the program: positions, allowances, balances, nonce."""

from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, quantity
from bot.devnet.deployment import CHAIN_ID, Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The account at the newest block."""

    positions: dict[str, float]  # open position id -> contracts
    allowances: tuple[int, ...]
    usdc: float
    susd: float
    nonce: int
    pending: int


async def facts(rpc: Rpc, at: Deployment) -> Facts:
    reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    grants = ((at.usdc, at.v3_router), (at.susd, at.v3_router), (at.susd, at.lyra_option_market))
    erc20 = Abi.load("ERC20")
    owned, usdc, susd, *allowed = await reader.read(
        [
            Abi.load("OptionToken").call("getOwnerPositions", at.lyra_option_token, at.user),
            erc20.call("balanceOf", at.usdc, at.user),
            erc20.call("balanceOf", at.susd, at.user),
            *[erc20.call("allowance", token, at.user, spender) for token, spender in grants],
        ],
        block=await reader.head(),
    )
    return Facts(
        positions={str(row[0]): row[3] / 1e18 for row in owned[0]},
        allowances=tuple(row[0] for row in allowed),
        usdc=usdc[0] / 1e6,
        susd=susd[0] / 1e18,
        nonce=await nonce(rpc, at.user),
        pending=await nonce(rpc, at.user, "pending"),
    )


async def nonce(rpc: Rpc, account: str, block: str = "latest") -> int:
    return quantity(await rpc.read("eth_getTransactionCount", [account, block]))
