"""MultiSendCallOnly's batch: it comes back as it was, and hides nothing."""

from dataclasses import replace

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from bot.chain.abi import Abi
from bot.chain.safe import (
    ZERO,
    SafeTx,
)
from bot.chain.safe_batch import InnerCall, batch_tx, calls_of, decode_batch, encode_batch
from bot.errors import InvariantError

UINT256 = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: to_checksum_address("0x" + raw.hex()))
SAFE_AT = to_checksum_address("0x" + "5a" * 20)
CALLS = st.builds(InnerCall, to=ADDRESSES, data=st.binary(max_size=120), value_wei=UINT256)


@given(st.lists(CALLS, min_size=1, max_size=5))
def test_a_batch_comes_back_as_it_was(calls: list[InnerCall]) -> None:
    assert decode_batch(encode_batch(calls)) == tuple(calls)
    tx = batch_tx(calls, multi_send=SAFE_AT, nonce=3)
    assert calls_of(tx, multi_send=SAFE_AT.lower()) == tuple(calls)


@given(st.lists(CALLS, min_size=1, max_size=3), st.data())
def test_no_other_bytes_are_shown_as_the_same_calls(calls: list[InnerCall], data: st.DataObject) -> None:
    """Law: a batch that differs in one byte is refused, or decodes to other calls."""
    good = encode_batch(calls)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    try:
        found = decode_batch(changed)
    except InvariantError:
        return
    assert found != tuple(calls)


def test_batches_that_hide_something_are_refused() -> None:
    call = InnerCall(to=SAFE_AT, data=b"\1\2\3")
    packed_call = bytes([0]) + bytes.fromhex(SAFE_AT[2:]) + bytes(32) + (3).to_bytes(32, "big") + b"\1\2\3"
    multi_send = Abi.load("MultiSendCallOnly")
    assert encode_batch([call]) == multi_send.encode("multiSend", packed_call)
    for blob, why in (
        (b"\1" + packed_call[1:], "operation 1"),
        (packed_call[:-1], "ends inside"),
        (packed_call + b"\0", "ends inside"),
        (b"", "no call"),
    ):
        with pytest.raises(InvariantError, match=why):
            decode_batch(multi_send.encode("multiSend", blob))
    for data in (b"", b"\xde\xad\xbe\xef", encode_batch([call]) + b"\0", encode_batch([call])[:-1]):
        with pytest.raises(InvariantError):
            decode_batch(data)
    with pytest.raises(InvariantError, match="at least one"):
        encode_batch([])
    with pytest.raises(InvariantError, match="uint256"):
        encode_batch([replace(call, value_wei=-1)])


def test_only_the_configured_batch_contract_may_be_delegated_to() -> None:
    tx = batch_tx([InnerCall(to=SAFE_AT, data=b"")], multi_send=SAFE_AT, nonce=0)
    with pytest.raises(InvariantError, match="never sign it"):
        calls_of(tx, multi_send=ZERO)
    with pytest.raises(InvariantError, match="value of 1 wei"):
        calls_of(replace(tx, value_wei=1), multi_send=SAFE_AT)
    plain = SafeTx(to=SAFE_AT, data=b"\1", nonce=0, value_wei=4)
    assert calls_of(plain, multi_send=ZERO) == (InnerCall(to=SAFE_AT, data=b"\1", value_wei=4),)
