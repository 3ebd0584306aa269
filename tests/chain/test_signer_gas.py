"""Gas is money: a coin's cap counts it, cancels too, and no cancel takes nonces far ahead (REL-I3, Y2)."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from send_builders import ADDRESS, CHAIN_ID, KEY, desk, rules
from signer_builders import MARKET, ME, NOW_S, RULES, TOKEN, approve, buy, cancel, settle, unsigned

from bot.chain.fees import GWEI, Fees
from bot.chain.safe import rejection
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import COIN, Cap
from bot.errors import InvariantError, VenueRejected
from bot.model.units import DAY_S

ETH = 10**18
DAY = ETH // 20  # 0.05
CAPS = {COIN: Cap(transaction_raw=DAY // 2, day_raw=DAY)}
CALL_GAS, CANCEL_GAS = 100_000, 21_000
THE_SAFE, MULTI_SEND = "0x" + "5a" * 20, "0x" + "77" * 20


def who(path: Path | None = None, **changes: Any) -> SigningDesk:
    return desk(path, **{"permissions": RULES, "caps": CAPS, **changes})


def at(gwei: float) -> Fees:
    return Fees(max_fee_wei=int(gwei * GWEI), tip_wei=0)


def costing(wei: int, *, gas: int = CALL_GAS) -> Fees:
    assert wei % gas == 0
    return Fees(max_fee_wei=wei // gas, tip_wei=0)


def spent(one: SigningDesk) -> int:
    return one._memory.spent(CHAIN_ID, COIN, now_s=NOW_S)


# the coin's cap


def test_ten_cancels_do_not_burn_more_than_the_coins_cap():
    one, signed = who(), 0
    one.sign(unsigned(nonce=0, fees=at(1)), now_s=NOW_S)
    for nonce in range(1, 11):
        with suppress(VenueRejected):
            one.sign(cancel(nonce=nonce, fees=at(1_000)), now_s=NOW_S)
            signed += CANCEL_GAS * 1_000 * GWEI
    assert 0 < spent(one) == signed + CALL_GAS * GWEI <= DAY


def test_every_call_counts_the_most_that_its_gas_may_cost():
    one = who()
    one.sign(unsigned(nonce=0, data=settle(1), fees=costing(DAY // 2)), now_s=NOW_S)
    assert spent(one) == DAY // 2
    with pytest.raises(VenueRejected, match="in 24 hours"):
        one.sign(unsigned(nonce=1, fees=costing(DAY // 2)), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="per transaction"):
        one.sign(unsigned(nonce=1, fees=costing(DAY // 2 + CALL_GAS)), now_s=NOW_S)


def test_gas_and_value_count_together():
    one = who(max_value_wei=DAY)
    with pytest.raises(VenueRejected, match="per transaction"):
        one.sign(unsigned(value_wei=DAY // 4 + 1, fees=costing(DAY // 4)), now_s=NOW_S)
    one.sign(unsigned(value_wei=DAY // 4, fees=costing(DAY // 4)), now_s=NOW_S)
    assert spent(one) == DAY // 2


def test_the_dearest_attempt_of_a_nonce_counts_once():
    one = who()
    for gwei in (10, 30, 20):
        one.sign(unsigned(fees=at(gwei)), now_s=NOW_S)
        one.sign(cancel(fees=at(2 * gwei)), now_s=NOW_S)
    assert spent(one) == CALL_GAS * 30 * GWEI
    one.sign(cancel(fees=at(300)), now_s=NOW_S)
    assert spent(one) == CANCEL_GAS * 300 * GWEI


def test_a_tenth_of_the_coins_cap_is_for_taking_back_alone():
    one = who()
    one.sign(unsigned(nonce=0, fees=costing(DAY // 2)), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="over the signer's cap of 45000000000000000"):
        one.sign(unsigned(nonce=1, fees=costing(DAY * 4 // 10 + CALL_GAS)), now_s=NOW_S)
    one.sign(unsigned(nonce=1, fees=costing(DAY * 4 // 10)), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="over the signer's cap"):
        one.sign(unsigned(nonce=2, data=settle(1), fees=Fees(max_fee_wei=1, tip_wei=0)), now_s=NOW_S)
    tenth = Fees(max_fee_wei=DAY // 10 // CANCEL_GAS, tip_wei=0)
    one.sign(cancel(nonce=2, fees=tenth), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="over the signer's cap of 50000000000000000"):
        one.sign(cancel(nonce=3, fees=at(1)), now_s=NOW_S)


def test_an_allowance_is_taken_back_from_the_same_tenth():
    """What a cap that is reached stops half way leaves no allowance behind."""
    one = who(caps={**CAPS, TOKEN: Cap(transaction_raw=100, day_raw=100)})
    one.sign(unsigned(nonce=0, fees=costing(DAY // 2)), now_s=NOW_S)
    one.sign(unsigned(nonce=1, fees=costing(DAY * 4 // 10)), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="over the signer's cap of 45000000000000000"):
        one.sign(unsigned(nonce=2, to=TOKEN, data=approve(MARKET, 1), fees=at(1)), now_s=NOW_S)
    one.sign(unsigned(nonce=2, to=TOKEN, data=approve(MARKET, 0), fees=costing(DAY // 10)), now_s=NOW_S)
    with pytest.raises(VenueRejected, match="over the signer's cap of 50000000000000000"):
        one.sign(unsigned(nonce=3, to=TOKEN, data=approve(MARKET, 0), fees=at(1)), now_s=NOW_S)


def test_a_revocation_is_held_to_the_cap_of_one_transaction():
    one = who(caps={COIN: Cap(transaction_raw=1, day_raw=DAY)})
    with pytest.raises(VenueRejected, match="per transaction"):
        one.sign(unsigned(to=TOKEN, data=approve(MARKET, 0), fees=at(1)), now_s=NOW_S)


def test_a_cancel_is_not_held_to_the_cap_of_one_transaction():
    one = who(caps={COIN: Cap(transaction_raw=1, day_raw=DAY)})
    assert one.sign(cancel(fees=at(100)), now_s=NOW_S)


def test_what_takes_no_more_than_its_nonce_already_did_is_always_signed(tmp_path):
    """Also where the cap was lowered since, or cancels used up their tenth."""
    path = tmp_path / "memory"
    one = who(path)
    one.sign(unsigned(nonce=0, fees=costing(DAY // 2)), now_s=NOW_S)
    one._memory.close()
    again = who(path, caps={COIN: Cap(transaction_raw=DAY // 2, day_raw=DAY // 2)})
    assert again.sign(unsigned(nonce=0, fees=at(100)), now_s=NOW_S)
    assert again.sign(cancel(nonce=0, fees=at(1_000)), now_s=NOW_S)


def test_gas_is_counted_over_a_crash_and_free_again_after_a_day(tmp_path):
    path = tmp_path / "memory"
    one = who(path)
    one.sign(unsigned(nonce=0, fees=costing(DAY // 2)), now_s=NOW_S)
    one.sign(cancel(nonce=1, fees=at(1_000)), now_s=NOW_S)
    one._memory.close()
    with path.open("ab") as file:
        file.write(b'deadbeef {"kind":"cancel","cha')  # its signature never left
    again = who(path)
    assert spent(again) == DAY // 2 + CANCEL_GAS * 1_000 * GWEI
    with pytest.raises(VenueRejected, match="24 hours"):
        again.sign(cancel(nonce=2, fees=at(1_000)), now_s=NOW_S)
    assert again.sign(cancel(nonce=2, fees=at(1_000)), now_s=NOW_S + DAY_S)


def test_gas_is_free_again_a_day_and_a_quarter_later_where_clocks_may_differ(tmp_path):
    time = [NOW_S]
    given = rules(permissions=RULES, caps=CAPS, most_skew_s=900.0)
    memory = SignerMemory(tmp_path / "memory")
    one = SigningDesk(LocalKey(KEY), given, memory, clock=lambda: time[0], up=lambda: ("boot", time[0]))
    one.sign(cancel(nonce=0, fees=at(2_000)), now_s=NOW_S)
    time[0] += DAY_S + 899
    with pytest.raises(VenueRejected, match="24 hours"):
        one.sign(cancel(nonce=1, fees=at(2_000)), now_s=time[0])
    time[0] += 1
    assert one.sign(cancel(nonce=1, fees=at(2_000)), now_s=time[0])
    memory.close()


def test_an_allowance_counts_its_gas_and_its_token():
    one = who(caps={**CAPS, TOKEN: Cap(transaction_raw=100, day_raw=100)})
    one.sign(unsigned(nonce=0, to=TOKEN, data=approve(MARKET, 100), fees=at(1)), now_s=NOW_S)
    assert (spent(one), one._memory.spent(CHAIN_ID, TOKEN, now_s=NOW_S)) == (CALL_GAS * GWEI, 100)


def test_without_a_cap_of_the_coin_gas_is_not_counted():
    for caps in ({}, {TOKEN: Cap(transaction_raw=100, day_raw=100)}):
        one = who(caps=caps)
        one.sign(unsigned(nonce=0, data=buy(), fees=at(2_000)), now_s=NOW_S)
        one.sign(cancel(nonce=1, gas=1_000_000, fees=at(2_000)), now_s=NOW_S)
        assert spent(one) == 0


# nonces of cancels


def test_a_cancel_far_ahead_is_refused():
    one = who()
    one.sign(unsigned(nonce=3, fees=at(1)), now_s=NOW_S)
    for nonce in (20, 2**40, 2**64 - 1):
        with pytest.raises(InvariantError, match=r"16 above 3.*accept_nonce"):
            one.sign(cancel(nonce=nonce, fees=at(1)), now_s=NOW_S)
    assert one.sign(cancel(nonce=19, fees=at(1)), now_s=NOW_S)
    fresh = who()
    fresh.sign(unsigned(nonce=0, fees=at(1)), now_s=NOW_S)
    with pytest.raises(InvariantError, match="16 above 0"):
        fresh.sign(cancel(nonce=17, fees=at(1)), now_s=NOW_S)


def test_cancels_lead_no_further_than_from_what_was_signed_beside_them():
    one = who()
    one.sign(unsigned(nonce=3, fees=at(1)), now_s=NOW_S)
    one.sign(cancel(nonce=19, fees=at(1)), now_s=NOW_S)
    with pytest.raises(InvariantError, match="16 above 3"):
        one.sign(cancel(nonce=20, fees=at(1)), now_s=NOW_S)


def test_a_cancel_ahead_takes_its_own_nonce_and_no_other(tmp_path):
    path = tmp_path / "memory"
    one = who(path)
    one.sign(cancel(nonce=2**40, fees=at(1)), now_s=NOW_S)  # nothing is known of the account yet
    one.sign(unsigned(nonce=3, fees=at(1)), now_s=NOW_S)
    one.sign(cancel(nonce=5, fees=at(1)), now_s=NOW_S)
    one._memory.close()
    again = who(path)
    again.sign(unsigned(nonce=4, fees=at(1)), now_s=NOW_S)
    with pytest.raises(InvariantError, match=r"nonce 5 .* another payload"):
        again.sign(unsigned(nonce=5, fees=at(1)), now_s=NOW_S)
    assert again.sign(unsigned(nonce=6, fees=at(1)), now_s=NOW_S)


def test_nonces_that_a_person_accepted_may_be_used_up():
    one = who(accept_nonce=1_000)
    one.sign(unsigned(nonce=3, fees=at(1)), now_s=NOW_S)
    assert one.sign(cancel(nonce=999, fees=at(1)), now_s=NOW_S)
    with pytest.raises(InvariantError, match="16 above 999"):
        one.sign(cancel(nonce=1_016, fees=at(1)), now_s=NOW_S)


def test_a_rejection_far_ahead_ends_nothing_for_a_safe():
    one = who(safe=THE_SAFE, multi_send=MULTI_SEND)
    asked = {"chain_id": CHAIN_ID, "safe": THE_SAFE, "valid_until_s": NOW_S + 60, "now_s": NOW_S}
    one.sign_safe(rejection(THE_SAFE, nonce=2**40), **asked)
    one.sign_safe(rejection(THE_SAFE, nonce=5), **asked)
    assert one._memory.highest(CHAIN_ID, THE_SAFE) == -1
    assert (ADDRESS.lower(), spent(one)) == (ME, 0)
