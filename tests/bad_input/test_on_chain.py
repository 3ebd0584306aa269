"""What a chain answers is input too: the group "On-chain inputs" of reliability.md's bad-input list.

Tested elsewhere, where the reader of it is:
look-alike tokens: ``watchers/test_positions_find.py``; tokens that return false or take a fee:
``venues/test_opyn.py``; every ABI decoder on any bytes: ``fuzz/test_decoders.py``.
"""

from collections.abc import Mapping

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.devnet.deployment import CHAIN_ID
from bot.devnet.node import Devnet
from bot.errors import TransientError, VenueRejected
from bot.model.intent import Log, Receipt
from bot.model.lp_position import LpToken
from bot.venues.steps import ERC20, token_delta
from bot.venues.token_checks import _refusal
from bot.watchers.positions.tokens import MAX_SYMBOL, KnownTokens, read_tokens, short_address
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


WORD = 32
RTL, CONTROL = "\u202ecihT", "\x1b[2J\x07\n"


def contract(answers: Mapping[str, bytes], *, reverts: bool = False) -> str:
    """Return the code of a contract that answers functions with the bytes given, whatever they are.

    Any other call reverts without a reason; with ``reverts`` the bytes come as the reason.
    """
    first = len(_SELECTOR) + _CASE * len(answers) + len(_NOTHING)
    at = first + _BODY * len(answers)
    cases, bodies, data = b"", b"", b""
    for place, (function, answer) in enumerate(answers.items()):
        size = push(len(answer), 3)
        cases += (
            b"\x80" + push(keccak(text=function)[:4]) + b"\x14" + push(first + _BODY * place, 2) + b"\x57"
        )
        bodies += b"\x5b" + size + push(at + len(data), 3) + push(0) + b"\x39" + size + push(0)
        bodies += b"\xfd" if reverts else b"\xf3"
        data += answer
    assert len(_SELECTOR + cases + _NOTHING) == first
    # Behind the end of code there are zeros: megabytes of them need not be sent.
    return "0x" + (_SELECTOR + cases + _NOTHING + bodies + data.rstrip(b"\0")).hex()


def push(value: int | bytes, size: int = 1) -> bytes:
    raw = value if isinstance(value, bytes) else value.to_bytes(size, "big")
    return bytes([0x5F + len(raw)]) + raw


_SELECTOR = push(0) + b"\x35" + push(0xE0) + b"\x1c"  # CALLDATALOAD, SHR
_NOTHING = push(0) + push(0) + b"\xfd"  # REVERT
_CASE, _BODY = 11, 19  # bytes of each


def text(words: str | bytes) -> bytes:
    return encode(["bytes"], [words if isinstance(words, bytes) else words.encode()])


def number(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


SIX = {"decimals()": number(6)}
ODD_SYMBOLS = {
    "in 32 bytes": (b"MKR".ljust(WORD, b"\0"), "MKR"),
    "32 bytes of control characters": (CONTROL.encode().ljust(WORD, b"\0"), "[2J"),
    "empty": (text(""), None),
    "empty 32 bytes": (bytes(WORD), None),
    "no bytes": (b"", None),
    "cut": (text("USDC")[:-1], None),
    "right to left": (text(RTL), "cihT"),
    "control characters": (text(CONTROL), "[2J"),
    "no UTF-8": (text(b"\xff\xfe\xc0"), None),
    "a megabyte": (text("A" * 50_000 + "\0" * 950_000), "A" * MAX_SYMBOL),
    "a megabyte of spaces": (text(" " * 50_000 + "\0" * 950_000), None),
    "longer than it is": (number(WORD) + number(2**255) + b"USDC", None),
    "far away": (number(2**256 - 1), None),
}


@pytest.mark.devnet
async def test_symbols_are_shown_as_far_as_they_can_be_read(rpc: Rpc, devnet: Devnet) -> None:
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=devnet.deployment.multicall3)
    tokens = {hostile(place): name for place, name in enumerate(ODD_SYMBOLS)}
    for address, name in tokens.items():
        code = contract({**SIX, "symbol()": ODD_SYMBOLS[name][0]})
        await rpc.request("anvil_setCode", [address, code])
    found = await read_tokens(chain, [*tokens], KnownTokens(symbols={}), block=await chain.head())
    for address, name in tokens.items():
        token, wanted = found[address], ODD_SYMBOLS[name][1]
        assert not isinstance(token, Unknown), name
        assert token.decimals == 6
        assert token.symbol == (short_address(address) if wanted is None else wanted), name
        assert token.symbol.isprintable()


@pytest.mark.devnet
@pytest.mark.parametrize(
    "answer",
    [None, b"", number(37), number(255), number(256), number(2**255), number(6)[:-1]],
    ids=["reverts", "nothing", "37", "255", "256", "2^255", "31 bytes"],
)
async def test_decimals_that_cannot_be_are_unknown_and_hide_no_other_token(
    rpc: Rpc, devnet: Devnet, answer: bytes | None
) -> None:
    at = devnet.deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    answers = {"symbol()": text("ODD")} | ({} if answer is None else {"decimals()": answer})
    await rpc.request("anvil_setCode", [hostile(0), contract(answers)])
    found = await read_tokens(chain, [hostile(0), at.usdc], KnownTokens(symbols={}), block=await chain.head())
    assert isinstance(found[hostile(0)], Unknown)
    assert not isinstance(found[at.usdc.lower()], Unknown)


@pytest.mark.devnet
@pytest.mark.parametrize("size", [1_000_000, 3_000_000])  # as hex, the latter is over the limit of a reply
async def test_a_bomb_is_the_only_one_unknown_of_a_batch(rpc: Rpc, devnet: Devnet, size: int) -> None:
    """Whether it returns or reverts with megabytes: what was asked beside it is read. So is it alone."""
    at = devnet.deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    junk = (b"\xff" * 64).ljust(size, b"\0")
    await rpc.request("anvil_setCode", [hostile(0), contract({"decimals()": junk})])
    await rpc.request("anvil_setCode", [hostile(1), contract({"decimals()": junk}, reverts=True)])
    head = await chain.head()
    calls = [ERC20.call("decimals", target) for target in (at.usdc, hostile(0), at.weth, hostile(1), at.usdc)]
    assert await chain.read(calls, block=head) == [(6,), None, (18,), None, (6,)]
    assert await chain.read(calls[1:2], block=head) == [None]
    assert await chain.read(calls[3:4], block=head) == [None]
    data = ERC20.encode("decimals")
    with pytest.raises((TransientError, VenueRejected)) as caught:
        await chain.simulate(to=hostile(1), data=data, block=head, sender=at.whale)
    assert len(str(caught.value)) < 600


@pytest.mark.devnet
async def test_a_reason_of_thousands_of_letters_is_one_short_line(rpc: Rpc, devnet: Devnet) -> None:
    at = devnet.deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    reason = keccak(text="Error(string)")[:4] + encode(
        ["string"], [f"no{CONTROL}{RTL}" + "x" * 50_000 + "\0" * 50_000]
    )
    await rpc.request("anvil_setCode", [hostile(0), contract({"decimals()": reason}, reverts=True)])
    with pytest.raises(VenueRejected, match="would revert: no ") as caught:
        await chain.simulate(
            to=hostile(0), data=ERC20.encode("decimals"), block=await chain.head(), sender=at.whale
        )
    words = str(caught.value)
    assert words.isprintable()
    assert len(words) < 400


@pytest.mark.devnet
async def test_an_event_of_another_contract_is_none_of_the_venue(rpc: Rpc, devnet: Devnet) -> None:
    """The topic and the fields are the token's; only the address tells that it said nothing."""
    at = devnet.deployment
    chain = await JsonRpcReader.connect(rpc, chain_id=CHAIN_ID, multicall3=at.multicall3)
    topic = ERC20.topic("Transfer")
    sides = ["0x" + side[2:].lower().rjust(64, "0") for side in (at.whale, at.trader)]
    topics = b"".join(push(bytes.fromhex(each[2:])) for each in (*reversed(sides), topic))
    say = push(10**18, WORD) + push(0) + b"\x52" + topics + push(WORD) + push(0) + b"\xa3"  # MSTORE, LOG3
    await rpc.request("anvil_setCode", [hostile(0), "0x" + say.hex()])
    from_block = (await chain.head()).number
    call = {"from": at.whale, "to": hostile(0), "gas": hex(100_000)}
    tx_hash, raw = await rpc.request("eth_sendTransaction", [call], send=True), None
    while raw is None:
        raw = await rpc.request("eth_getTransactionReceipt", [tx_hash])
    assert [item["topics"] for item in raw["logs"]] == [[topic, *sides]]
    block = await chain.head()
    for contracts, many in (([at.usdc], 0), ([hostile(0)], 1), ([at.usdc, hostile(0)], 1)):
        rows = await chain.logs(addresses=contracts, topics=[[topic]], from_block=from_block, to=block)
        assert [row.log.address for row in rows] == [hostile(0)] * many
    logs = tuple(row.log for row in rows)
    assert ERC20.logs("Transfer", logs, address=at.usdc) == []
    assert [item["value"] for item in ERC20.logs("Transfer", logs, address=hostile(0))] == [10**18]


MOVED = 10**6 + 7  # what the check of a token sends


@pytest.mark.parametrize(
    ("before", "moved", "after", "words"),
    [
        (number(5), b"", number(5 + MOVED), ""),  # as USDT answers
        (number(5), number(1), number(5 + MOVED), ""),
        (number(5), number(1) + number(7), number(5 + MOVED), ""),  # 64 bytes: the first word counts
        (number(5) + bytes(WORD), number(1), number(5 + MOVED) + bytes(WORD), ""),
        (number(5), number(0), number(5 + MOVED), "by false"),
        (number(5), number(0) + number(1), number(5 + MOVED), "by false"),
        (number(5), number(2), number(5 + MOVED), "by false"),
        (number(5), b"\1", number(5 + MOVED), "by false"),
        (number(5), None, number(5 + MOVED), "paused"),
        (number(5), b"", b"", "does not say"),
        (None, b"", number(5), "does not say"),
        (b"\xff" * 1_000_000, b"\0" * 1_000_000, bytes(1_000_000), "by false"),
        (bytes(WORD), b"", b"\xff" * 1_000_000, "it takes a fee"),
        (number(2**256 - 1), b"", bytes(WORD), "it takes a fee"),
    ],
)
def test_what_a_token_answers_to_a_transfer(
    before: bytes | None, moved: bytes | None, after: bytes | None, words: str
) -> None:
    found = _refusal(before, moved, after)
    assert (words in found) if words else not found
    assert len(found) < 300


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
