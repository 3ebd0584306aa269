"""Keystores and password files: what is read, what is refused, and that no key is ever shown (REL-Y3, Y4)."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from send_builders import ADDRESS, KEY

from bot.chain.signing.keys import LocalKey
from bot.chain.signing.keystore import open_keystore, read_password_file, write_keystore
from bot.errors import ConfigError

PASSWORD = "correct horse"
STRANGER = "0x" + "66" * 20


@pytest.fixture
def keystore(tmp_path) -> Path:
    path = tmp_path / "key.json"
    assert write_keystore(path, KEY, PASSWORD, scrypt_n=2) == ADDRESS
    return path


def opened(
    path: Path, password: str = PASSWORD, *, address: str = ADDRESS, min_scrypt_n: int = 2
) -> LocalKey:
    return open_keystore(path, password, address=address, min_scrypt_n=min_scrypt_n)


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
        open_keystore(keystore, PASSWORD, address=ADDRESS)


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


def test_the_key_is_in_no_text_of_the_key(keystore):
    """REL-Y3."""
    key = opened(keystore)
    shown = f"{key!r} {key!s}"
    assert KEY.hex() not in shown.lower()
    assert shown == f"LocalKey({ADDRESS}) LocalKey({ADDRESS})"
    assert not hasattr(key, "__dict__")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="key"):
            leak(key)


def test_a_password_file_is_private_and_loses_only_its_line_end(tmp_path):
    path = tmp_path / "password"
    path.write_text(" a b \r\n")
    path.chmod(0o600)
    assert read_password_file(path) == " a b "
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"password file .* mode 0644"):
        read_password_file(path)
