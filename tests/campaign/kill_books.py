"""What the chain says of the account before and after an order that was killed, and what is wrong with it."""

import asyncio
from typing import NamedTuple

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc, quantity
from bot.devnet.deployment import CHAIN_ID, Deployment
from campaign.kill_child import Action, Order

GAS_CAP_WEI = 10**17  # of one case
_DUST_USD = 0.05


class Books(NamedTuple):
    """What the chain says of the account."""

    positions: dict[str, float]  # open option position -> contracts
    allowances: tuple[int, ...]
    stable_usd: float  # USDC and sUSD
    coin_wei: int
    nonce: int
    pending: int
    minted: int  # option tokens that ever came to the account
    burnt: int


class Ledger:
    """Reads the chain and nothing else."""

    def __init__(self, rpc_url: str, at: Deployment) -> None:
        self._rpc_url, self._at = rpc_url, at

    def books(self) -> Books:
        return asyncio.run(self._books())

    async def _books(self) -> Books:
        at, erc20 = self._at, Abi.load("ERC20")
        grants = (
            (at.usdc, at.v3_router),
            (at.susd, at.v3_router),
            (at.susd, at.lyra_option_market),
            (at.usdc, at.lyra_option_market),
        )
        async with Rpc(self._rpc_url, timeout_s=30) as rpc:
            reader = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
            owned, usdc, susd, *allowed = await reader.read(
                [
                    Abi.load("OptionToken").call("getOwnerPositions", at.lyra_option_token, at.user),
                    erc20.call("balanceOf", at.usdc, at.user),
                    erc20.call("balanceOf", at.susd, at.user),
                    *[erc20.call("allowance", token, at.user, spender) for token, spender in grants],
                ],
                block=await reader.head(),
            )
            count = "eth_getTransactionCount"
            coin, latest, pending = await rpc.batch(
                [
                    ("eth_getBalance", [at.user, "latest"]),
                    (count, [at.user, "latest"]),
                    (count, [at.user, "pending"]),
                ]
            )
            minted = await self._transfers(rpc, sender=None, receiver=at.user)
            burnt = await self._transfers(rpc, sender=at.user, receiver=None)
        return Books(
            positions={str(row[0]): row[3] / 1e18 for row in owned[0]},
            allowances=tuple(row[0] for row in allowed),
            stable_usd=usdc[0] / 1e6 + susd[0] / 1e18,
            coin_wei=quantity(coin),
            nonce=quantity(latest),
            pending=quantity(pending),
            minted=minted,
            burnt=burnt,
        )

    async def _transfers(self, rpc: Rpc, *, sender: str | None, receiver: str | None) -> int:
        """Count transfers of option tokens between the account and nobody: each is one trade."""
        words = ["0x" + (address or "0x0")[2:].lower().rjust(64, "0") for address in (sender, receiver)]
        topic = Abi.load("ERC20").event("Transfer").topic
        query = {"address": self._at.lyra_option_token, "topics": [topic, *words], "fromBlock": "0x0"}
        return len(await rpc.request("eth_getLogs", [query]))


def judge(order: Order, before: Books, after: Books, outcomes: dict[str, str]) -> list[str]:
    """Return what is wrong after a case: the chain by itself, and the journal against it."""
    opened, closed = after.minted - before.minted, after.burnt - before.burnt
    wanted_open = order.action is not Action.CLOSE
    wanted_close = order.action in (Action.CLOSE, Action.ROLL)
    problems = []
    if opened > wanted_open or closed > wanted_close:
        problems.append(f"DUPLICATE: {opened} opened, {closed} closed")
    if opened + closed != list(outcomes.values()).count("filled"):
        problems.append(f"LOST: {opened} opened and {closed} closed on chain, the journal says {outcomes}")
    if len(after.positions) != len(before.positions) + opened - closed:
        problems.append(f"LOST: {len(before.positions)} positions became {len(after.positions)}")
    if set(outcomes.values()) - {"filled", "rejected"}:
        problems.append(f"not terminal: {outcomes}")
    spent_usd = before.stable_usd - after.stable_usd
    if spent_usd > order.cap_usd * opened + _DUST_USD:
        problems.append(f"OVER CAP: {spent_usd:.2f} USD spent, allowed {order.cap_usd * opened:.2f}")
    if before.coin_wei - after.coin_wei > GAS_CAP_WEI:
        problems.append(f"OVER CAP: {before.coin_wei - after.coin_wei} wei of gas")
    if any(after.allowances):
        problems.append(f"ALLOWANCE LEFT: {after.allowances}")
    if after.nonce != after.pending:
        problems.append(f"a transaction is still in the pool: nonce {after.nonce}, pending {after.pending}")
    return problems
