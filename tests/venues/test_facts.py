"""The fill, as its receipts have it: by itself what moved, in a batch what the trade's own event says."""

from dataclasses import replace

import pytest
from send_builders import leg

from bot.errors import OutcomeUnknown
from bot.model.intent import Log, Receipt
from bot.venues.facts import mined, moved_raw
from bot.venues.lyra_booking import read_fact
from bot.venues.lyra_reads import LyraContracts
from bot.venues.steps import ERC20

TOKEN, ME, OTHER = (f"0x{digit * 40}" for digit in "123")


def word(address: str) -> str:
    return "0x" + address.removeprefix("0x").rjust(64, "0")


def paid(amount_raw: int, *, tx_hash: str = "0x01") -> Receipt:
    log = Log(
        address=TOKEN,
        topics=(ERC20.topic("Transfer"), word(ME), word(OTHER)),
        data=amount_raw.to_bytes(32),
    )
    return Receipt(
        tx_hash=tx_hash,
        succeeded=True,
        block_number=1,
        block_hash="0x02",
        gas_used=1,
        gas_cost_wei=1,
        logs=(log,),
    )


@pytest.mark.parametrize(("said_raw", "moved"), [(900, 1_000), (None, 1_000)])
def test_a_trade_by_itself_cost_what_moved(said_raw, moved):
    trade, other = paid(1_000), paid(5, tx_hash="0x09")
    receipts = {"open": trade, "approve": other}
    assert moved_raw(trade, receipts, token=TOKEN, account=ME, said_raw=said_raw) == moved


@pytest.mark.parametrize(("said_raw", "moved"), [(900, 900), (0, 0), (None, 1_000)])
def test_a_trade_in_a_batch_cost_what_its_event_says(said_raw, moved):
    trade = paid(1_000)
    receipts = {"swap-in": trade, "open": trade}
    assert moved_raw(trade, receipts, token=TOKEN, account=ME, said_raw=said_raw) == moved


def test_only_what_succeeded_was_mined():
    trade = paid(1)
    assert mined({"open": trade}, "open") is trade
    assert mined({"open": replace(trade, succeeded=False)}, "open") is None
    assert mined({}, "open") is None


def test_a_step_that_was_tried_again_was_mined_and_the_cancel_of_a_try_is_none():
    trade = paid(1)
    failed = replace(trade, succeeded=False)
    assert mined({"redeem": failed, "redeem@17": trade}, "redeem") is trade
    assert mined({"redeem": failed, "redeem@17": failed}, "redeem") is None
    for cancel in ("redeem-cancelled", "redeem-cancelled-9", "redeem@17-cancelled", "redeem@17-cancelled-9"):
        assert mined({cancel: trade}, "redeem") is None


def test_a_trade_without_its_event_is_not_known_and_no_bug():
    """REL-F15: a node gave half a receipt; the order stays open and is looked at again."""
    contracts = LyraContracts(
        option_market=OTHER,
        option_token=OTHER,
        pricer=OTHER,
        liquidity_pool=OTHER,
        short_collateral=OTHER,
        synthetix_adapter=OTHER,
    )
    with pytest.raises(OutcomeUnknown, match="succeeded without its trade event"):
        read_fact(
            leg(), {"open": paid(1_000)}, contracts=contracts, account=ME, token=TOKEN, settlement_usd=1.0
        )
