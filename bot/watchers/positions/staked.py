"""Positions that a staking contract holds: whose they are is asked of that contract, and checked.

The staker is named by the user. It must say that it is for this pair, or have this NFT, and must hold at
least what it says: a contract that claims more than it has is not believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import ConfigError, NotFoundError
from bot.ports import Call
from bot.watchers.pools import V2_PAIR
from bot.watchers.rows import BadRead, need

GAUGE = Abi.load("LpGauge")
MASTER_CHEF = Abi.load("MasterChef")
NFT_STAKER = Abi.load("NftStaker")
_TOKEN_NAMES = ("stakingToken", "lp_token", "stake")
_ZERO = "0x" + "00" * 20

Results = Sequence[tuple[Any, ...] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NftStaker:
    """Holds position NFTs: UniswapV3Staker, MasterChef v3 and gauges of concentrated liquidity."""

    address: str
    depositor: str | None = None  # a gauge tells only who asks by name

    def calls(self, token_id: int) -> tuple[Call, ...]:
        # Only the first word is the same in all: UniswapV3Staker's Deposit begins with the owner.
        deposit = Call(self.address, NFT_STAKER.encode("deposits", token_id), ("address",))
        if self.depositor is None:
            return (deposit,)
        return deposit, NFT_STAKER.call("stakedContains", self.address, self.depositor, token_id)

    def owner(self, what: str, holder: str, results: Results) -> str:
        """Return whose NFT it is. Raises NotFoundError when the staker does not hold it or knows no owner."""
        if holder.lower() != self.address.lower():
            raise NotFoundError(
                f"position {what} is not staked with {self.address}: its owner is {holder}; name it as {what}"
            )
        deposit, *contains = results
        if deposit is not None and deposit[0] != _ZERO:
            return str(deposit[0])
        if contains and contains[0] is not None and contains[0][0]:
            return str(self.depositor)
        asked = f"deposits({what.partition(':')[2]})" + (" and stakedContains" if self.depositor else "")
        hint = "" if self.depositor else "; if it is a gauge, give --wallet too"
        raise NotFoundError(
            f"position {what}: {self.address} holds it and names no owner ({asked} answered none){hint}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LpStaker:
    """Holds LP tokens of a v2 pair: a gauge, or one pool of a MasterChef."""

    address: str
    pool_id: int | None = None  # MasterChef: its pid

    def calls(self, pair: str, holder: str) -> tuple[Call, ...]:
        held = V2_PAIR.call("balanceOf", pair, self.address)
        if self.pool_id is None:
            names = (GAUGE.call(name, self.address) for name in _TOKEN_NAMES)
            return GAUGE.call("balanceOf", self.address, holder), held, *names
        user = Call(self.address, MASTER_CHEF.encode("userInfo", self.pool_id, holder), ("uint256",))
        first = Call(self.address, MASTER_CHEF.encode("poolInfo", self.pool_id), ("address",))
        return user, held, MASTER_CHEF.call("lpToken", self.address, self.pool_id), first

    def staked(self, pair: str, results: Results) -> int:
        """Return the holder's LP tokens, raw.

        Raises ConfigError when the contract is for another token or does not say for which, BadRead when
        it did not answer or claims more than it holds.
        """
        balance, held, *tokens = results
        named = [str(token[0]).lower() for token in tokens if token is not None]
        if not named:
            raise ConfigError(
                f"{self.address} does not say which token it is for; a gauge answers stakingToken(), "
                "lp_token() or stake(), a MasterChef lpToken(PID) or poolInfo(PID): check address and PID"
            )
        if pair.lower() not in named:
            raise ConfigError(f"{self.address} is for the token {named[0]}, not for the pair {pair}")
        (amount,) = need(balance, f"balance at the staker {self.address}")
        (all_held,) = need(held, f"LP tokens of the staker {self.address}")
        if amount > all_held:
            raise BadRead(f"the staker {self.address} claims {amount} LP tokens and holds {all_held}")
        return int(amount)
