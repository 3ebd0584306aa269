"""The signer: what it reads, what it refuses, and that it never shows its key (REL-Y1..Y6, I10, I14)."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from send_builders import ADDRESS, CHAIN_ID, COUNTER, KEY, SELECTOR, rules, signer

from bot.chain.fees import GWEI, Fees
from bot.chain.raw_transaction import decode_raw
from bot.chain.signer import (
    MAINNETS,
    KeystoreSigner,
    SigningRules,
    Unsigned,
    real_money_sentence,
    write_keystore,
)
from bot.errors import ConfigError, InvariantError, VenueRejected

NOW_S = 1_000.0
PASSWORD = "correct horse"
TOKEN = "0x" + "70" * 20
STRANGER = "0x" + "66" * 20
APPROVE = bytes.fromhex("095ea7b3")
FEES = Fees(max_fee_wei=20 * GWEI, tip_wei=GWEI)


def unsigned(**changes) -> Unsigned:
    values = {
        "chain_id": CHAIN_ID, "nonce": 3, "to": COUNTER, "data": SELECTOR + b"\x01", "value_wei": 0,
        "gas": 100_000, "fees": FEES, "valid_until_s": NOW_S + 1,
    }  # fmt: skip
    return Unsigned(**{**values, **changes})


def cancel(**changes) -> Unsigned:
    return unsigned(**{"to": ADDRESS, "data": b"", "gas": 21_000, "valid_until_s": 0.0, **changes})


def approval(spender: str, amount: int) -> bytes:
    return APPROVE + bytes(12) + bytes.fromhex(spender[2:]) + amount.to_bytes(32, "big")


# signing


def test_what_is_signed_is_what_was_asked():
    asked = unsigned()
    signed = signer().sign(asked, now_s=NOW_S)
    found = decode_raw(signed.raw)
    assert found.tx_hash == signed.tx_hash
    assert (found.sender, found.chain_id, found.nonce) == (ADDRESS.lower(), CHAIN_ID, 3)
    assert (found.to, found.data, found.value_wei, found.gas) == (COUNTER, asked.data, 0, 100_000)
    assert found.fees == FEES


def test_the_same_request_signs_to_the_same_bytes():
    """A restart that signs again before any byte was journalled cannot make a second transaction."""
    assert signer().sign(unsigned(), now_s=NOW_S) == signer().sign(unsigned(), now_s=NOW_S)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"chain_id": 11_155_111}, InvariantError, "chain 11155111 is not allowed"),
        ({"chain_id": 1}, InvariantError, "chain 1 is not allowed"),
        ({"to": STRANGER}, InvariantError, "allow-list"),
        ({"data": b"\x00\x00\x00\x00"}, InvariantError, "allow-list"),
        ({"data": b""}, InvariantError, "allow-list"),
        ({"data": SELECTOR[:3]}, InvariantError, "allow-list"),
        ({"to": ADDRESS}, InvariantError, "allow-list"),  # to ourselves, but with data
        ({"to": ADDRESS, "data": b"", "value_wei": 1}, InvariantError, "allow-list"),
        ({"value_wei": 1}, InvariantError, "value"),
        ({"value_wei": -1}, InvariantError, "value"),
        ({"nonce": -1}, InvariantError, "nonce"),
        ({"gas": 0}, InvariantError, "gas"),
        ({"gas": 1_000_001}, VenueRejected, "ceiling"),
        ({"fees": Fees(max_fee_wei=2_001 * GWEI, tip_wei=0)}, VenueRejected, "limit"),
        ({"valid_until_s": NOW_S}, VenueRejected, "valid until"),
        ({"valid_until_s": float("nan")}, VenueRejected, "valid until"),
    ],
)
def test_anything_outside_the_rules_is_refused(changes, error, words):
    with pytest.raises(error, match=words):
        signer().sign(unsigned(**changes), now_s=NOW_S)


def test_the_edges_of_the_rules_are_allowed():
    edge = unsigned(
        gas=1_000_000, fees=Fees(max_fee_wei=2_000 * GWEI, tip_wei=0), valid_until_s=NOW_S + 0.001
    )
    assert signer().sign(edge, now_s=NOW_S).raw


@given(
    st.integers(0, 2**64),
    st.sampled_from([COUNTER, TOKEN, STRANGER, ADDRESS, COUNTER.upper().replace("X", "x")]),
    st.binary(max_size=80) | st.just(SELECTOR) | st.binary(max_size=64).map(lambda tail: APPROVE + tail),
    st.integers(-1, 2),
    st.integers(0, 2_000_000),
)
def test_no_request_outside_the_policy_is_ever_signed(chain_id, to, data, value_wei, gas):
    """REL-E16: whatever is asked, the signed bytes are on the list or a cancel."""
    who = signer(calls=frozenset({(COUNTER, SELECTOR), (TOKEN, APPROVE)}))
    for asked_chain in (chain_id, CHAIN_ID):
        request = unsigned(chain_id=asked_chain, to=to, data=data, value_wei=value_wei, gas=gas)
        try:
            signed = who.sign(request, now_s=NOW_S)
        except (InvariantError, VenueRejected):
            continue
        found = decode_raw(signed.raw)
        assert found.chain_id == CHAIN_ID
        assert found.value_wei == 0
        assert found.gas <= 1_000_000
        if (found.to, found.data) != (ADDRESS.lower(), b""):
            assert (found.to, found.data[:4]) in {(COUNTER, SELECTOR), (TOKEN, APPROVE)}
        if found.data[:4] == APPROVE:
            assert "0x" + found.data[16:36].hex() in {COUNTER, TOKEN}


def test_a_cancel_needs_no_rule_and_no_time():
    signed = signer().sign(cancel(), now_s=NOW_S)
    assert decode_raw(signed.raw).to == ADDRESS.lower()
    with pytest.raises(VenueRejected, match="cancel"):
        signer().sign(cancel(gas=1_000_001), now_s=NOW_S)
    with pytest.raises(InvariantError, match="chain"):
        signer().sign(cancel(chain_id=5), now_s=NOW_S)


def test_one_nonce_never_carries_two_payloads():
    """REL-Y2: only a fee replacement or a cancel may follow."""
    who = signer()
    who.sign(unsigned(), now_s=NOW_S)
    who.sign(unsigned(fees=Fees(max_fee_wei=30 * GWEI, tip_wei=2 * GWEI)), now_s=NOW_S)
    who.sign(cancel(), now_s=NOW_S)
    with pytest.raises(InvariantError, match="another payload"):
        who.sign(unsigned(data=SELECTOR + b"\x02"), now_s=NOW_S)
    assert who.sign(unsigned(nonce=4, data=SELECTOR + b"\x02"), now_s=NOW_S).raw


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (approval(STRANGER, 5), "spender"),
        (approval(COUNTER, 2**256 - 1), "unlimited"),
        (approval(COUNTER, 2**127), "unlimited"),
        (approval(COUNTER, 5) + b"\x00", "exactly"),
        (approval(COUNTER, 5)[:-1], "exactly"),
        (APPROVE + b"\x01" + approval(COUNTER, 5)[5:], "exactly"),
    ],
)
def test_an_approval_is_exact_and_for_a_listed_spender(data, words):
    """REL-Y6."""
    who = signer(calls=frozenset({(COUNTER, SELECTOR), (TOKEN, APPROVE)}))
    assert who.sign(unsigned(to=TOKEN, data=approval(COUNTER, 5)), now_s=NOW_S).raw
    assert who.sign(unsigned(to=TOKEN, nonce=4, data=approval(COUNTER, 0)), now_s=NOW_S).raw
    with pytest.raises(InvariantError, match=words):
        who.sign(unsigned(to=TOKEN, nonce=5, data=data), now_s=NOW_S)


# rules


@pytest.mark.parametrize("chain_id", [1, 10, 56, 100, 137, 8453, 42161, 43114, 59144, 534352])
def test_chains_with_real_money_need_their_sentence(chain_id):
    """REL-I14."""
    assert chain_id in MAINNETS
    with pytest.raises(ConfigError, match=f"'{real_money_sentence(chain_id)}'"):
        rules(chain_ids=frozenset({CHAIN_ID, chain_id}))
    with pytest.raises(ConfigError):
        rules(chain_ids=frozenset({chain_id}), real_money=frozenset({"yes", real_money_sentence(5)}))
    allowed = rules(chain_ids=frozenset({chain_id}), real_money=frozenset({real_money_sentence(chain_id)}))
    assert allowed.chain_ids == {chain_id}


@pytest.mark.parametrize(
    "call",
    [
        ("", SELECTOR), ("0x1", SELECTOR), ("0x" + "zz" * 20, SELECTOR), (COUNTER, b"\x01"),
        (COUNTER, "a1b2c3d4"),
        ("0xC0C0C0C0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", SELECTOR),
    ],
)  # fmt: skip
def test_a_rule_that_is_not_an_address_and_a_selector_is_refused(call):
    with pytest.raises(ConfigError, match="signing rule"):
        SigningRules(chain_ids=frozenset({CHAIN_ID}), calls=frozenset({call}))


# keystores


@pytest.fixture
def keystore(tmp_path) -> Path:
    path = tmp_path / "key.json"
    assert write_keystore(path, KEY, PASSWORD, scrypt_n=2) == ADDRESS
    return path


def opened(path: Path, password: str = PASSWORD, *, address: str = ADDRESS, min_scrypt_n: int = 2):
    return KeystoreSigner.open(path, password, address=address, rules=rules(), min_scrypt_n=min_scrypt_n)


def test_a_keystore_opens_with_its_password(keystore):
    assert keystore.stat().st_mode & 0o777 == 0o600
    assert opened(keystore).address == ADDRESS
    assert opened(keystore, address=ADDRESS.lower()).address == ADDRESS


def test_a_wrong_password_and_a_damaged_file_say_the_same(keystore):
    with pytest.raises(ConfigError) as wrong:
        opened(keystore, "wrong horse")
    fields = json.loads(keystore.read_text())
    fields["crypto"]["ciphertext"] = "00" * 32
    keystore.write_text(json.dumps(fields))
    with pytest.raises(ConfigError) as damaged:
        opened(keystore)
    assert (
        str(wrong.value) == str(damaged.value) == f"keystore {keystore} cannot be opened with this password"
    )


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o777])
def test_a_keystore_that_others_can_read_is_refused(keystore, mode):
    """REL-Y4."""
    keystore.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        opened(keystore)


def test_a_keystore_of_another_account_is_refused(keystore):
    with pytest.raises(ConfigError, match=STRANGER):
        opened(keystore, address=STRANGER)


@pytest.mark.parametrize(
    "text",
    [
        "", KEY.hex(), "0x" + KEY.hex(), json.dumps(KEY.hex()), json.dumps({"privateKey": KEY.hex()}),
        "[]", "{",
        json.dumps({"version": 1, "crypto": {}}), json.dumps({"version": 3, "crypto": "x"}), "\x00\xff",
    ],
    ids=range(10),
)  # fmt: skip
def test_anything_but_an_encrypted_keystore_is_refused_without_echo(keystore, text):
    keystore.write_text(text)
    with pytest.raises(ConfigError, match="not an encrypted keystore") as caught:
        opened(keystore)
    assert KEY.hex()[:8] not in str(caught.value)


def test_a_weakly_encrypted_keystore_is_refused(keystore):
    with pytest.raises(ConfigError, match="work factor 2, at least 262144"):
        KeystoreSigner.open(keystore, PASSWORD, address=ADDRESS, rules=rules())


@pytest.mark.parametrize(
    "change", [{"kdf": "none"}, {"kdf": 7}, {"kdfparams": None}, {"kdfparams": {"n": "2"}}]
)
def test_a_keystore_with_strange_parameters_is_refused(keystore, change):
    fields = json.loads(keystore.read_text())
    fields["crypto"] |= change
    keystore.write_text(json.dumps(fields))
    with pytest.raises(ConfigError):
        opened(keystore)


def test_a_path_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        opened(tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="regular file"):
        opened(tmp_path)


@pytest.mark.parametrize("scheme", [{"kdf": "argon2"}, {"kdf": "pbkdf2", "prf": "md5"}, {"kdf": "pbkdf2"}])
def test_a_keystore_with_an_unknown_key_derivation_is_refused_by_name(keystore, scheme):
    """The library meets a strange pseudo-random function with a bare assertion."""
    fields = json.loads(keystore.read_text())
    fields["crypto"]["kdf"] = scheme["kdf"]
    fields["crypto"]["kdfparams"] = {"c": 2**20, "prf": scheme.get("prf")}
    keystore.write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match="allowed: scrypt and pbkdf2 with hmac-sha256"):
        opened(keystore)


def test_an_existing_keystore_is_never_overwritten(keystore):
    before = keystore.read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        write_keystore(keystore, KEY, PASSWORD, scrypt_n=2)
    assert keystore.read_bytes() == before


def test_the_key_is_in_no_text_of_the_signer():
    """REL-Y3."""
    who = signer()
    shown = f"{who!r} {who!s}"
    assert KEY.hex() not in shown.lower()
    assert shown == f"KeystoreSigner({ADDRESS}) KeystoreSigner({ADDRESS})"
    assert not hasattr(who, "__dict__")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="key"):
            leak(who)


@pytest.mark.parametrize("raw", ["", "0x", "0x02", "zz", "0x02c0", "0x" + "00" * 100])
def test_damaged_bytes_do_not_decode(raw):
    with pytest.raises(InvariantError, match="damaged"):
        decode_raw(raw)


def test_a_legacy_transaction_does_not_decode_as_ours():
    legacy = Account.from_key(KEY).sign_transaction(
        {"chainId": 1, "nonce": 0, "to": ADDRESS, "value": 0, "gas": 21_000, "gasPrice": 1}
    )
    with pytest.raises(InvariantError):
        decode_raw(bytes(legacy.raw_transaction).hex())
