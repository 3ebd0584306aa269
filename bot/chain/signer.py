"""What the bot asks of its signer, which is another process: requests, answers and the port.

Nothing here holds a key. The signer itself, with the rules it signs by, is `bot.chain.signing`; the bot
reaches it through `bot.chain.signer_client`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bot.chain.fees import Fees
from bot.chain.safe import SafeTx

# Chains on which coins cost money. Signing for them needs the sentence of `real_money_sentence`.
MAINNETS: Mapping[int, str] = {
    1: "Ethereum",
    10: "Optimism",
    25: "Cronos",
    30: "Rootstock",
    56: "BNB Chain",
    100: "Gnosis",
    130: "Unichain",
    137: "Polygon",
    146: "Sonic",
    169: "Manta Pacific",
    250: "Fantom",
    252: "Fraxtal",
    288: "Boba",
    324: "zkSync Era",
    480: "World Chain",
    957: "Derive",
    999: "HyperEVM",
    1088: "Metis",
    1101: "Polygon zkEVM",
    1135: "Lisk",
    1284: "Moonbeam",
    1329: "Sei",
    1868: "Soneium",
    2222: "Kava",
    2741: "Abstract",
    5000: "Mantle",
    8217: "Kaia",
    8453: "Base",
    34443: "Mode",
    42161: "Arbitrum One",
    42170: "Arbitrum Nova",
    42220: "Celo",
    43114: "Avalanche",
    57073: "Ink",
    59144: "Linea",
    80094: "Berachain",
    81457: "Blast",
    167000: "Taiko",
    534352: "Scroll",
    7777777: "Zora",
}


def real_money_sentence(chain_id: int) -> str:
    """Return the words a person must write to let the bot sign for a chain with real money."""
    return f"sign with real money on chain {chain_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """An EIP-1559 transaction to sign. ``to`` equal to the signer with no data and value is a cancel."""

    chain_id: int
    nonce: int
    to: str
    data: bytes
    value_wei: int
    gas: int
    fees: Fees
    valid_until_s: float

    def is_cancel(self, account: str) -> bool:
        """Say whether it only uses up its nonce."""
        return self.to.lower() == account.lower() and not self.data and self.value_wei == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    raw: str  # 0x hex
    tx_hash: str


class Signer(Protocol):
    """Signs for one account, within rules of its own."""

    @property
    def address(self) -> str: ...

    async def sign(self, unsigned: Unsigned, *, now_s: float) -> Signed:
        """Sign or refuse. ``now_s`` is chain time.

        Raises VenueRejected when a bound that moves with the market refuses (time, gas, fee, cap, pause),
        InvariantError when the request should never have been made, TransientError when the signer cannot be
        reached: nothing was signed then. Raises OutcomeUnknown when no answer came to a request that was
        made: the signer may have signed, and its nonce is then taken.
        """
        ...

    async def sign_safe(
        self, tx: SafeTx, *, chain_id: int, safe: str, valid_until_s: float, now_s: float
    ) -> bytes:
        """Return an owner's 65 bytes (r, s, v of 27 or 28) over the Safe's transaction hash, or refuse.

        Raises as ``sign``; asking again after OutcomeUnknown gives the same bytes.
        """
        ...

    async def has_signed(self, chain_id: int, nonce: int) -> bool:
        """Say whether a signature for this nonce of the account may exist. Raises TransientError."""
        ...
