"""What a chain answers is input too: the group "On-chain inputs" of reliability.md's bad-input list.

Tested elsewhere, where the reader of it is:
symbols as bytes32, empty, of a megabyte or with right-to-left marks, decimals that revert or lie, look-alike
tokens: ``watchers/test_positions_find.py``; tokens that return false or take a fee: ``venues/test_opyn.py``.
"""

import pytest

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.model.intent import Log, Receipt
from bot.model.lp_position import LpToken
from bot.venues.steps import ERC20, token_delta
from bot.watchers.positions.tokens import MAX_SYMBOL, KnownTokens, read_tokens
from bot.watchers.rows import Unknown

MEGABYTE = (1_000_000).to_bytes(3, "big").hex()
BURNS = "0xfe"  # INVALID takes all gas that the call was given
RETURNS_MEGABYTE = f"0x62{MEGABYTE}5ff3"
REVERTS_MEGABYTE = f"0x62{MEGABYTE}5ffd"


def hostile(number: int) -> str:
    return f"0x{0xBAD0000 + number:040x}"


@pytest.mark.devnet
@pytest.mark.parametrize("code", [BURNS, RETURNS_MEGABYTE, REVERTS_MEGABYTE], ids=["gas", "return", "revert"])
@pytest.mark.parametrize("many", [1, 40])
async def test_tokens_that_eat_gas_or_memory_hide_no_other_token(
    rpc: Rpc, devnet: Devnet, code: str, many: int
) -> None:
    """Anyone can send a position in such tokens to a wallet that is watched."""
    at = devnet.deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    spam = [hostile(number) for number in range(many)]
    for address in spam:
        await rpc.request("anvil_setCode", [address, code])
    last = "0xfffffffffffffffffffffffffffffffffffffffe"  # read after all of them
    await rpc.request("anvil_setCode", [last, await rpc.request("eth_getCode", [at.usdc, "latest"])])
    found = await read_tokens(
        chain, [*spam, at.usdc, last], KnownTokens(symbols={}), block=await chain.head()
    )
    usdc = at.usdc.lower()
    assert found[usdc] == LpToken(symbol="USDC", address=usdc, decimals=6)
    assert not isinstance(found[last], Unknown)
    for address in spam:  # a megabyte of zeros is a token without a symbol and without decimals
        token = found[address]
        assert isinstance(token, Unknown) or (token.decimals == 0 and len(token.symbol) <= MAX_SYMBOL)


TOKEN, ME, OTHER, STRANGER = (f"0x{digit * 40}" for digit in "1234")


def receipt(*transfers: tuple[str, str, str, int]) -> Receipt:
    """Return the receipt of a trade with Transfer events of (contract, from, to, raw amount)."""
    logs = tuple(
        Log(
            address=contract,
            topics=(ERC20.topic("Transfer"), *("0x" + side[2:].rjust(64, "0") for side in (source, target))),
            data=amount_raw.to_bytes(32),
        )
        for contract, source, target, amount_raw in transfers
    )
    return Receipt(
        tx_hash="0x01",
        succeeded=True,
        block_number=1,
        block_hash="0x02",
        gas_used=1,
        gas_cost_wei=1,
        logs=logs,
    )


@pytest.mark.parametrize(
    "noise",
    [
        (STRANGER, OTHER, ME, 10**24),  # the token's own event, told by another contract
        (STRANGER, ME, OTHER, 10**24),
        (TOKEN, OTHER, ME, 0),  # of nothing
        (TOKEN, ME, ME, 10**24),  # to oneself
        (TOKEN, OTHER, STRANGER, 10**24),  # between others
    ],
    ids=["forged gain", "forged loss", "of nothing", "to oneself", "of others"],
)
def test_only_the_token_itself_says_what_a_trade_moved(noise: tuple[str, str, str, int]) -> None:
    trade = (TOKEN, ME, OTHER, 1_000)
    for told in (receipt(noise, trade), receipt(trade, noise)):
        assert token_delta(told, token=TOKEN, account=ME) == -1_000
