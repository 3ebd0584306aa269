"""The trades of Perp v2: their calldata, and what each would do now, by eth_call.

A trade is run as an account that has collateral by overriding the vault's own record of it, so that it can be
quoted without a key, and planned with the deposit that will come before it.
"""

from dataclasses import dataclass
from typing import Any

from bot.errors import VenueRejected
from bot.model.market import Block
from bot.ports import ChainReader
from bot.venues.overrides import FundedSender, Layout, state_diff
from bot.venues.perp_v2_reads import HOUSE, VAULT, PerpV2Contracts

NO_REFERRAL = b"\0" * 32
MOST_RAW = 2**127 - 1  # a bound that bounds nothing, where only the answer is wanted
PLENTY_RAW = 10**24  # collateral no quote runs out of, and far from an overflow at 18 decimals
# The vault inherits several contracts that each keep 50 words for later versions.
_LAYOUTS = tuple(Layout(slot=slot, vyper=False) for slot in range(512))
_REASONS = {  # require() texts of perpetual-protocol/perp-curie-contract
    "CH_NEFCI": "the account's free collateral does not bear it",
    "CH_NEFCM": "the account is liquidated rather than reduced: its margin is under maintenance",
    "CH_TLRS": "the price moved beyond the bound",
    "CH_TMRL": "the price moved beyond the bound",
    "CH_TE": "the deadline has passed",
    "CH_OMPS": "mark and index are further apart than the market allows",
    "EX_OPB": "mark and index would be further apart than the market allows",
    "EX_OPLAS": "it would move the price further than the market allows within 15 seconds",
    "V_NEFC": "so much collateral is not free",
    "V_GTSTBC": "the vault takes no more collateral",
}


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade of base for quote. ``amount_raw`` > 0."""

    sells: bool  # base for quote
    amount_raw: int
    closes_all: bool = False  # the whole net position of the account, whatever it is by then

    def encode(self, base_token: str, *, bound_raw: int, deadline_s: int) -> bytes:
        """Return calldata; the bound is the least quote received where it sells, else the most paid."""
        if self.closes_all:
            return HOUSE.encode("closePosition", (base_token, 0, bound_raw, deadline_s, NO_REFERRAL))
        order = (base_token, self.sells, self.sells, self.amount_raw, bound_raw, deadline_s, 0, NO_REFERRAL)
        return HOUSE.encode("openPosition", order)


class PerpV2Trades:
    """Runs trades of one market."""

    def __init__(self, reader: ChainReader, contracts: PerpV2Contracts) -> None:
        self._reader, self._at = reader, contracts
        self._funded = FundedSender(reader)
        self._layout: Layout | None = None

    async def quote_raw(
        self, trade: Trade, *, owner: str, balance_raw: int | None, block: Block, gas: int | None = None
    ) -> tuple[int, int]:
        """Return (base, quote) of a trade, raw and positive, as an account with that balance in the vault.

        None leaves the balance as it is. Raises VenueRejected with the reason where it would fail.
        """
        bound_raw = 1 if trade.sells else MOST_RAW
        data = trade.encode(self._at.base_token, bound_raw=bound_raw, deadline_s=2**40)
        overrides = None if balance_raw is None else await self._with_balance(owner, balance_raw, block)
        try:
            answer = await self._reader.simulate(
                to=self._at.clearing_house,
                data=data,
                block=block,
                sender=owner,
                overrides=overrides,
                gas=gas,
            )
        except VenueRejected as refusal:
            raise VenueRejected(explained(str(refusal))) from None
        base, quote = HOUSE.decode("closePosition" if trade.closes_all else "openPosition", answer)
        return int(base), int(quote)

    async def check_deposit(self, amount_raw: int, *, owner: str, block: Block) -> None:
        """Raise VenueRejected where the vault would not take a deposit of the account."""
        overrides = await self._funded.overrides(
            token=self._at.collateral, owner=owner, spender=self._at.vault, block=block
        )
        if overrides is None:
            return  # the node takes no overrides: the deposit itself is simulated before it is sent
        data = VAULT.encode("deposit", self._at.collateral, amount_raw)
        try:
            await self._reader.simulate(
                to=self._at.vault, data=data, block=block, sender=owner, overrides=overrides
            )
        except VenueRejected as refusal:
            raise VenueRejected(f"the deposit is refused: {explained(str(refusal))}") from None

    async def _with_balance(self, owner: str, balance_raw: int, block: Block) -> dict[str, Any]:
        layout = self._layout
        if layout is None:
            layout = await self._funded.probe(
                self._at.vault,
                VAULT.encode("getBalance", owner),
                lambda at: at.of(owner, self._at.collateral),
                block,
                candidates=_LAYOUTS,
            )
        if layout is None:
            raise VenueRejected(
                f"the vault {self._at.vault} keeps its balances where they cannot be found, or the node "
                "takes no overrides: its trades cannot be quoted"
            )
        self._layout = layout
        return state_diff(self._at.vault, {layout.of(owner, self._at.collateral): balance_raw})


def explained(text: str) -> str:
    """Return a refusal with the meaning of the contract's code beside it."""
    found = [meaning for code, meaning in _REASONS.items() if code in text]
    return f"{text} ({found[0]})" if found else text
