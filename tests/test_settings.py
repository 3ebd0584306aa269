"""Bad configuration is one line that names the key, what was found and what is allowed."""

import pytest
from settings_texts import GOOD, OTHER, write

from bot.deployments import known
from bot.errors import ConfigError
from bot.settings import PolicySettings, keystore_password, load_policy, load_settings


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
        ("id = 31337", "id = 31337\nspeed = 9", r"unknown key chain\.speed; there are id, rpc_url, "),
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
        ("[[feeds]]", "[surprise]\nx = 1\n[[feeds]]", "unknown key surprise; there are chain, "),
        ("[chain]", "[chian]", "unknown key chian; did you mean chain$"),
        ("heartbeat_s", "hartbeat_s", r"unknown key feeds\.0\.hartbeat_s; did you mean heartbeat_s$"),
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


# providers


def chain(text: str) -> str:
    return GOOD.replace('rpc_url = "http://127.0.0.1:8545/secret-key"', text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "chain: needs either rpc_url .* or rpc_urls"),
        ('rpc_url = "http://127.0.0.1"\nrpc_urls = ["http://127.0.0.1:1"]', "needs either"),
        ('rpc_url = "https://eth.example/secret-key "', "rpc_url .*has a space at position"),
        ('rpc_url = " https://eth.example/secret-key"', "rpc_url .*has a space at position 1 "),
        ('rpc_url = "https://eth.example/secret\\u00a0-key"', r"has the character U\+00A0"),
        ('rpc_url = "eth.example/secret-key"', r"rpc_url must be http\(s\)://host"),
        ('rpc_url = "ftp://eth.example/secret-key"', r"must be http\(s\)://.*ftp://eth\.example/…"),
        ('rpc_url = "https:///secret-key"', r"must be http\(s\)://host"),
        ('rpc_url = "http://eth.example/secret-key"', "plain http to a public host.*allow_plain_http = true"),
        ('rpc_url = "http://8.8.8.8/secret-key"', "plain http to a public host"),
        (
            'rpc_urls = ["https://a.example/secret-key", "https://a.example/x", "https://a.example/3"]'
            "\nagreement = 2",
            r"rpc_urls names the provider a\.example 3 times",
        ),
        ('rpc_urls = ["http://127.0.0.1:1", "http://127.0.0.1:1/"]', "names the provider .* 2 times"),
        (
            'rpc_urls = ["https://a.example", "https://b.example"]\nagreement = 3',
            "agreement is 3 of 2 providers; .* majority, 2 to 2",
        ),
        (
            'rpc_urls = ["https://a.example", "https://b.example", "https://c.example", "https://d.example"]'
            "\nagreement = 2",
            "agreement is 2 of 4 providers; .* majority, 3 to 4",
        ),
        ('rpc_urls = ["https://a.example/secret-key", "https://a.example/secret-key"]', "a.example 2 times"),
        ('rpc_url = "https://a.example"\nagreement = 2', "agreement is 2 of 1 providers"),
        ('rpc_url = "https://a.example"\nagreement = 0', r"chain\.agreement: .*was 0"),
        (
            'rpc_url = "https://a.example"\nws_url = "https://a.example/secret-key"',
            r"ws_url must be ws\(s\)://",
        ),
        (
            'rpc_url = "https://a.example"\nws_url = "ws://a.example/secret-key"',
            "ws_url .*plain ws to a public",
        ),
        ("rpc_url = 8545", r"chain\.rpc_url: "),
        ('rpc_urls = "https://a.example/secret-key"', r"chain\.rpc_urls: "),
        ("rpc_urls = [1]", r"chain\.rpc_urls\.0: "),
    ],
)
def test_a_provider_that_cannot_be_is_named_without_its_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(write(tmp_path, chain(text)))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8545", "localhost:8545", "geth:8545", "10.0.0.7", "[::1]:8545", "n.lan"]
)
def test_plain_http_stays_allowed_on_private_networks(tmp_path, host):
    assert load_settings(write(tmp_path, chain(f'rpc_url = "http://{host}"'))).chain.urls == (
        f"http://{host}",
    )


def test_plain_http_to_a_public_host_can_be_allowed_in_words(tmp_path):
    text = chain('rpc_url = "http://eth.example/k"\nallow_plain_http = true')
    assert load_settings(write(tmp_path, text)).chain.urls == ("http://eth.example/k",)


def test_several_providers_keep_their_order_and_do_not_show(tmp_path):
    urls = ["https://a.example/secret-key", "https://b.example/secret-key", "http://127.0.0.1:1/secret-key"]
    settings = load_settings(write(tmp_path, chain(f"rpc_urls = {urls}\nagreement = 2")))
    assert settings.chain.urls == tuple(urls)
    assert "secret-key" not in repr(settings)


def test_a_chain_that_is_a_bare_url_is_not_printed(tmp_path):
    with pytest.raises(ConfigError, match="chain: ") as caught:
        load_settings(write(tmp_path, 'chain = "https://a.example/secret-key"\n'))
    assert "secret-key" not in str(caught.value)


# chains


def test_other_chains_have_the_same_keys_and_items_may_name_them(tmp_path):
    text = GOOD + OTHER
    text = text.replace("heartbeat_s = 3600", "heartbeat_s = 3600\nchain = 42161")
    settings = load_settings(write(tmp_path, text))
    assert [item.id for item in settings.all_chains] == [31337, 42161]
    assert settings.chain_of(settings.feeds[0]) == 42161


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OTHER.replace("42161", "31337"), "chain 31337 is configured twice"),
        (OTHER + OTHER, "chain 42161 is configured twice"),
        (OTHER.replace("https", "http"), r"chains\.0: rpc_url .*public host"),
        (
            '[[chains]]\nid = 1\nrpc_url = "https://a.example/secret-key"\nhome = true',
            r"unknown key chains\.0\.home",
        ),
    ],
)
def test_each_bad_other_chain_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(write(tmp_path, GOOD + text))
    assert "secret-key" not in str(caught.value)


def test_an_item_on_a_chain_that_is_not_configured_is_named(tmp_path):
    text = GOOD.replace("heartbeat_s = 3600", "heartbeat_s = 3600\nchain = 10")
    with pytest.raises(ConfigError, match=r"feeds\.0\.chain: 10 is not configured; there are 31337"):
        load_settings(write(tmp_path, text))


# names of known deployments


def test_a_name_stands_for_the_address_on_the_chain_of_its_item(tmp_path):
    text = GOOD.replace('"0x5FbDB2315678afecb367f032d93F642f64180aa3"', '"@chainlink.ETH/USD"')
    at_home = load_settings(write(tmp_path, text.replace("31337", "1"))).feeds[0].address
    elsewhere = text.replace("heartbeat_s = 3600", "heartbeat_s = 3600\nchain = 42161") + OTHER
    assert at_home == "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419"
    assert load_settings(write(tmp_path, elsewhere)).feeds[0].address == known(42161).address(
        "chainlink.ETH/USD"
    )


def test_the_chain_of_a_name_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ALVH_CHAIN__ID", "1")
    text = GOOD.replace('"0x5FbDB2315678afecb367f032d93F642f64180aa3"', '"@chainlink.ETH/USD"')
    assert load_settings(write(tmp_path, text)).feeds[0].address == known(1).address("chainlink.ETH/USD")


def test_multicall3_of_a_chain_may_be_a_name(tmp_path):
    text = GOOD + '[[chains]]\nid = 324\nrpc_url = "https://zk.example"\nmulticall3 = "@multicall3"\n'
    settings = load_settings(write(tmp_path, text))
    assert settings.chains[0].multicall3 == "0xF9cda624FBC7e059355ce98a31693d299FACd963"
    with pytest.raises(ConfigError, match=r"chain\.multicall3: @multicall3 is no known .* chain 31337"):
        load_settings(write(tmp_path, GOOD.replace("id = 31337", 'id = 31337\nmulticall3 = "@multicall3"')))


def test_an_unknown_name_shows_those_near_it(tmp_path):
    text = GOOD.replace("31337", "1").replace(
        '"0x5FbDB2315678afecb367f032d93F642f64180aa3"', '"@chainlink.ETH-USD"'
    )
    with pytest.raises(
        ConfigError, match=r"feeds\.0\.address: @chainlink\.ETH-USD is no known .*@chainlink\.ETH/USD"
    ):
        load_settings(write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALVH_CHAIN__RPC_URLS", "https://node.example/secret-key"),
        ("ALVH_CHAIN__RPC_URLS", "[3"),
        ("ALVH_CHAINS__0__ID", "7"),
        ("ALVH_CHAIN__ID", "seven"),
        ("ALVH_WATCH__0", "{}"),
        ("ALVH_ALERTS__URLS", "secret-key"),
    ],
)
def test_an_override_of_a_wrong_shape_is_one_line(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, GOOD))
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)


def test_providers_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ALVH_CHAIN__RPC_URLS", '["https://a.example", "https://b.example"]')
    settings = load_settings(write(tmp_path, chain("")))
    assert settings.chain.urls == ("https://a.example", "https://b.example")
