"""Bad configuration is one line that names the key, what was found and what is allowed."""

import pytest

from bot.errors import ConfigError
from bot.settings import PolicySettings, keystore_password, load_policy, load_settings

GOOD = """
[chain]
id = 31337
rpc_url = "http://127.0.0.1:8545/secret-key"

[[feeds]]
label = "ETH/USD"
underlying = "ETH"
address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
heartbeat_s = 3600

[account]
address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
keystore = "keystore.json"
"""


def write(tmp_path, text):
    path = tmp_path / "alvh.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_and_its_secrets_do_not_show(tmp_path):
    settings = load_settings(write(tmp_path, GOOD))
    assert settings.chain.id == 31337
    assert settings.chain.rpc_url.get_secret_value().endswith("secret-key")
    assert "secret-key" not in repr(settings)


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ALVH_CHAIN__POLL_S", "3")
    monkeypatch.setenv("ALVH_KEYSTORE_PASSWORD", "not a setting")
    settings = load_settings(write(tmp_path, GOOD))
    assert settings.chain.poll_s == 3.0
    assert settings.chain.id == 31337


def test_a_variable_in_the_file_is_filled(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_RPC", "http://127.0.0.1:1")
    text = GOOD.replace("http://127.0.0.1:8545/secret-key", "${MY_RPC}")
    settings = load_settings(write(tmp_path, text))
    assert settings.chain.rpc_url.get_secret_value() == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id = 31337", "id = 31337\nspeed = 9", "unknown key chain.speed"),
        ("id = 31337", "id = -1", r"chain\.id: .*greater than 0, was -1"),
        ("[chain]\nid = 31337", "[chain]", r"chain\.id is missing"),
        ("heartbeat_s = 3600", "heartbeat_s = 'soon'", r"feeds\.0\.heartbeat_s: .*was 'soon'"),
        (
            "0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "0x5FbDB2315678afecb367f032d93F642f64180aa",
            "40 hex digits",
        ),
        ("0x5FbDB2315678", "0x5fbDB2315678", "wrong checksum"),
        ("http://127.0.0.1:8545/secret-key", "${NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE"),
        ("[chain]", "[chain", "not valid TOML"),
        ("[[feeds]]", "[surprise]\nx = 1\n[[feeds]]", "unknown key surprise"),
    ],
)
def test_each_bad_value_is_named(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(write(tmp_path, GOOD.replace(old, new)))
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)


def test_a_missing_file_says_how_to_name_another(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read.*--config"):
        load_settings(tmp_path / "nowhere.toml")


def test_the_password_comes_from_the_environment_then_a_file_then_the_prompt(tmp_path, monkeypatch):
    monkeypatch.delenv("ALVH_KEYSTORE_PASSWORD", raising=False)
    settings = load_settings(write(tmp_path, GOOD))
    assert keystore_password(settings.account) is None
    (tmp_path / "pw").write_text("from file\n")
    with_file = settings.account.model_copy(update={"password_file": tmp_path / "pw"})
    assert keystore_password(with_file).get_secret_value() == "from file"
    monkeypatch.setenv("ALVH_KEYSTORE_PASSWORD", "from environment")
    assert keystore_password(with_file).get_secret_value() == "from environment"


def test_the_packaged_preset_is_a_valid_policy():
    assert load_policy(PolicySettings()).hash


def test_a_policy_file_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("surprise = 1\n")
    with pytest.raises(ConfigError, match="surprise"):
        load_policy(PolicySettings(file=path))
