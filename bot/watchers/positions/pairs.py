"""v2 pairs of known money: what its known factories say they made of a priced token and a stable."""

from collections.abc import Iterable

from bot.chain.abi import Abi
from bot.model.market import Block
from bot.ports import ChainReader
from bot.watchers.pools import V2_PAIR
from bot.watchers.positions.tokens import NATIVE, KnownTokens

FACTORY = Abi.load("UniswapV2Factory")
_NONE = "0x" + "00" * 20


async def pairs_of_known(
    chain: ChainReader, factories: Iterable[str], known: KnownTokens, *, block: Block
) -> tuple[str, ...]:
    """Return the pairs, lower case. A factory that does not answer has none."""
    bases = sorted(set(known.priced) - set(known.stables) - {NATIVE})
    calls = [
        FACTORY.call("getPair", factory, base, stable)
        for factory in factories
        for base in bases
        for stable in sorted(known.stables)
    ]
    found = await chain.read(calls, block=block)
    return tuple(str(item[0]).lower() for item in found if item is not None and item[0] != _NONE)


async def held_of(chain: ChainReader, pairs: Iterable[str], wallet: str, *, block: Block) -> tuple[str, ...]:
    """Return those of the pairs whose LP tokens a wallet has."""
    listed = list(pairs)
    balances = await chain.read([V2_PAIR.call("balanceOf", pair, wallet) for pair in listed], block=block)
    return tuple(
        pair for pair, balance in zip(listed, balances, strict=True) if balance is not None and balance[0] > 0
    )
