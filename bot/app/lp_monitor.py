"""Reads the LP positions of one chain, with their prices and deposits."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bot.app.lp_chain import LpChain, UsdPrices, blind_spot, chain_name, contracts_of, priced, usd_prices
from bot.app.lp_request import LpRequest
from bot.app.lp_view import ChainLp, LpRow
from bot.chain.reader import JsonRpcReader
from bot.errors import BotError, ConfigError, NotFoundError, TransientError
from bot.model.lp_position import Deposits, LpPosition
from bot.model.market import Block
from bot.quant.lp_figures import figures_of
from bot.watchers.positions.deposits import DepositBook
from bot.watchers.positions.finder import LpContracts, LpFinder, NamedPosition
from bot.watchers.positions.history import deposits_at, deposits_of
from bot.watchers.positions.reading import LpReader, read_positions


class ChainMonitor:
    """Reads the positions of one chain."""

    def __init__(
        self, reader: JsonRpcReader, plan: LpChain, request: LpRequest, named: Sequence[NamedPosition]
    ) -> None:
        self.reader = reader
        self.chain_id = reader.chain_id
        self.name = chain_name(reader.chain_id)
        self.poll_s = plan.poll_s
        self._request = request
        self._named = tuple(named)
        self._contracts: LpContracts = contracts_of(self.chain_id, plan)
        self._prices: UsdPrices = usd_prices(self.chain_id, plan.settings)
        self._finder = LpFinder(reader, self._contracts, self._prices.tokens, look_back=request.look_back)
        self._books: dict[str, DepositBook] = {}
        self._blind = blind_spot(self._contracts, self.chain_id)
        if request.wallet is not None and self._blind and not (named or self._contracts.pairs):
            raise ConfigError(self._blind)

    async def read(self, block: Block, *, whole: bool) -> ChainLp:
        """Return the positions at a block. ``whole`` waits for deposits, else they come when they are read.

        Raises ConfigError, TransientError, StaleDataError, NotFoundError (too many NFTs).
        """
        readers, left_out = await self._readers(block)
        found, prices = await asyncio.gather(
            read_positions(self.reader, readers, block=block), self._prices.read(self.reader, block=block)
        )
        rows = []
        for reader, item in zip(readers, found, strict=True):
            if isinstance(item, BotError):
                left_out.append(str(item) if reader.what in str(item) else f"{reader.what}: {item}")
                continue
            usd, source = priced(item, prices)
            item = replace(item, quote_usd=usd, usd_source=source)
            item = replace(item, deposits=await self._deposits(item, block, whole=whole))
            rows.append(LpRow(position=item, figures=figures_of(item)))
        return ChainLp(
            chain_id=self.chain_id, name=self.name, block=block, rows=tuple(rows), left_out=tuple(left_out)
        )

    async def _readers(self, block: Block) -> tuple[list[LpReader], list[str]]:
        wallet = self._request.wallet
        readers: dict[str, LpReader] = {}
        left_out: list[str] = []
        if wallet is not None:
            found, left_out = await self._finder.wallet(wallet, block=block)
            readers = {item.what: item for item in found}
            left_out += [self._blind] if self._blind else []
        for named in self._named:
            try:
                reader = await self._finder.named(named, wallet=wallet, block=block)
            except (NotFoundError, ConfigError, TransientError) as error:
                left_out.append(str(error))
                continue
            readers[reader.what if reader.what not in readers else named.text] = reader
        return list(readers.values()), left_out

    async def _deposits(self, position: LpPosition, block: Block, *, whole: bool) -> Deposits:
        if not self._request.with_deposits:
            return position.deposits
        price = self._request.entry_price(position)
        if price is not None:
            return deposits_at(position, price)
        book = self._books.setdefault(f"{position.id} {position.owner}", DepositBook())
        if book.task is None and not book.is_good(position, block):
            book.start(position, block, self._look(position, block))
        if book.task is not None and (whole or book.task.done()):
            await book.take()
        return book.deposits

    async def _look(self, position: LpPosition, block: Block) -> Deposits:
        return await deposits_of(
            self.reader,
            position,
            manager=self._contracts.v3_manager,
            oldest=max(block.number - self._request.look_back, 0),
            block=block,
        )

    def close(self) -> None:
        """Stop looking for deposits."""
        for book in self._books.values():
            if book.task is not None:
                book.task.cancel()
