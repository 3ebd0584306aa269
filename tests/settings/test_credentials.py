"""Secrets of a service: what systemd's LoadCredential gives, by the names that variables have."""

import os

import pytest
from settings_texts import GOOD, write

from bot.errors import ConfigError
from bot.settings import AccountSettings, keystore_password, load_settings

BY_NAME = GOOD.replace("http://127.0.0.1:8545/secret-key", "${MY_RPC_URL}")


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """The folder that systemd makes for one service."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    for name in ("MY_RPC_URL", "ALVH_KEYSTORE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return folder


def rpc_url(tmp_path) -> str:
    return load_settings(write(tmp_path, BY_NAME)).chain.rpc_url.get_secret_value()


def test_a_name_in_the_file_is_filled_by_the_credential_without_its_line_end(tmp_path, credentials):
    (credentials / "MY_RPC_URL").write_text("http://127.0.0.1:1/key\n")
    assert rpc_url(tmp_path) == "http://127.0.0.1:1/key"


def test_a_variable_goes_before_a_credential_of_its_name(tmp_path, credentials, monkeypatch):
    (credentials / "MY_RPC_URL").write_text("http://127.0.0.1:1\n")
    monkeypatch.setenv("MY_RPC_URL", "http://127.0.0.1:2")
    assert rpc_url(tmp_path) == "http://127.0.0.1:2"


def test_the_keystore_password_is_a_credential_and_keeps_its_blanks(tmp_path, credentials):
    account = AccountSettings(
        address="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        keystore=tmp_path / "keystore.json",
        password_file=tmp_path / "none",
    )
    (credentials / "ALVH_KEYSTORE_PASSWORD").write_text(" pass word \r\n")
    found = keystore_password(account)
    assert found is not None
    assert found.get_secret_value() == " pass word "


@pytest.mark.parametrize("content", [b"", b"\n", b" padded", b"\xff\xfe", b"x" * 70_000])
def test_a_credential_that_is_no_line_of_text_is_refused_without_its_content(tmp_path, credentials, content):
    (credentials / "MY_RPC_URL").write_bytes(content)
    with pytest.raises(ConfigError, match="MY_RPC_URL") as caught:
        rpc_url(tmp_path)
    assert "\n" not in str(caught.value)
    assert "xxxx" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_credential_that_cannot_be_read_is_refused_by_its_path(tmp_path, credentials):
    (credentials / "MY_RPC_URL").touch(mode=0o000)
    with pytest.raises(ConfigError, match="MY_RPC_URL cannot be read"):
        rpc_url(tmp_path)


def test_without_a_service_and_a_variable_both_ways_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("MY_RPC_URL", raising=False)
    with pytest.raises(ConfigError, match="export MY_RPC_URL, or give its service the credential"):
        rpc_url(tmp_path)
