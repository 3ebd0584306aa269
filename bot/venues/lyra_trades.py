"""Runs Lyra trades by eth_call: what a purchase would cost and what a sale would bring.

A quote is the trade itself, run at a pinned block and thrown away. For purchases the caller is an address
without key or funds that state overrides make rich for that one call; where a node takes none, the account
itself if it holds money and an approval.
"""

from typing import Any

from bot.chain.rpc import RpcError
from bot.errors import VenueRejected
from bot.model.hedge import OptionType
from bot.model.market import Block
from bot.ports import ChainReader
from bot.venues.lyra_reads import MARKET, LyraContracts, OptionPosition
from bot.venues.lyra_terms import Execution, trade_input
from bot.venues.overrides import QUOTING_ADDRESS, FundedSender
from bot.venues.steps import ERC20


class LyraTrades:
    """Trades of one market that are never sent."""

    def __init__(
        self,
        *,
        reader: ChainReader,
        contracts: LyraContracts,
        settlement_token: str,
        iterations: int,
        account: str | None,
    ) -> None:
        self._reader = reader
        self._market = contracts.option_market
        self._token = settlement_token
        self._iterations = iterations
        self.account = account
        self._funded = FundedSender(reader)

    async def open_cost(
        self, strike_id: int, kind: OptionType, amount_raw: int, *, block: Block
    ) -> Execution | None:
        """Return what a purchase costs at a block, None where nothing can be quoted without funds.

        Raises VenueRejected with the market's reason.
        """
        sender, overrides = await self.sender(block)
        if sender is None:
            return None
        return await self.open(strike_id, kind, amount_raw, block=block, sender=sender, overrides=overrides)

    async def open(
        self,
        strike_id: int,
        kind: OptionType,
        amount_raw: int,
        *,
        block: Block,
        sender: str,
        overrides: dict[str, Any] | None,
    ) -> Execution:
        """Return what a purchase by ``sender`` costs. Raises VenueRejected with the market's reason."""
        order = trade_input(strike_id, 0, kind, amount_raw, iterations=self._iterations)
        return await self._trade("openPosition", order, block, sender, overrides)

    async def check_open(
        self,
        strike_id: int,
        kind: OptionType,
        amount_raw: int,
        *,
        most_raw: int,
        gas: int,
        block: Block,
    ) -> None:
        """Run the very purchase that is to be sent: by the account, as if funded, within its bounds.

        Raises VenueRejected when it fails although it can be quoted; says nothing where the node takes no
        overrides or there is no account.
        """
        if self.account is None:
            return
        overrides = await self._funded.overrides(
            token=self._token, owner=self.account, spender=self._market, block=block
        )
        if overrides is None:
            return
        bounds_raw = (0, most_raw)
        order = trade_input(
            strike_id, 0, kind, amount_raw, iterations=self._iterations, bounds_raw=bounds_raw
        )
        try:
            await self._trade("openPosition", order, block, self.account, overrides, gas=gas)
        except (RpcError, VenueRejected) as error:  # out of gas is no revert to every node
            raise VenueRejected(
                f"the purchase was quoted and would fail all the same within {gas} gas: {error}; "
                "nothing was sent"
            ) from None

    async def close_value(
        self, position: OptionPosition, kind: OptionType, amount_raw: int, *, block: Block
    ) -> Execution:
        """Return what a sale brings at a block, by force where the market allows only that.

        Raises VenueRejected with the reason of the ordinary sale when neither is possible.
        """
        owner = self.account
        if owner is None:
            raise VenueRejected(f"position {position.id} can only be sold by an account; none is configured")
        order = trade_input(position.strike_id, position.id, kind, amount_raw, iterations=self._iterations)
        try:
            return await self._trade("closePosition", order, block, owner, None)
        except VenueRejected as refusal:
            reason = refusal
        try:
            return await self._trade("forceClosePosition", order, block, owner, None)
        except VenueRejected:
            raise reason from None

    async def sender(self, block: Block) -> tuple[str | None, dict[str, Any] | None]:
        """Return who can quote a purchase, with the overrides that takes; (None, None) when nobody can."""
        token = self._token
        overrides = await self._funded.overrides(
            token=token, owner=QUOTING_ADDRESS, spender=self._market, block=block
        )
        if overrides is not None:
            return QUOTING_ADDRESS, overrides
        if self.account is None:
            return None, None
        calls = (
            ERC20.call("balanceOf", token, self.account),
            ERC20.call("allowance", token, self.account, self._market),
        )
        held = await self._reader.read(calls, block=block)
        able = all(row is not None and row[0] > 0 for row in held)
        return (self.account, None) if able else (None, None)

    async def _trade(
        self,
        function: str,
        order: tuple[int, ...],
        block: Block,
        sender: str,
        overrides: dict[str, Any] | None,
        *,
        gas: int | None = None,
    ) -> Execution:
        data = await self._reader.simulate(
            to=self._market,
            data=MARKET.encode(function, order),
            block=block,
            sender=sender,
            overrides=overrides,
            gas=gas,
        )
        _, cost_raw, fee_raw = MARKET.decode(function, data)[0]
        return Execution(cost_raw=cost_raw, fee_raw=fee_raw, forced=function == "forceClosePosition")
