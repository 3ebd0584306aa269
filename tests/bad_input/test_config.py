"""The bad-input list of reliability.md, group "Config file", item by item.

What is tested elsewhere, and is not repeated here:

=====================================================  ====================================================
missing file; wrong type; unknown key, nearest named   tests/test_settings.py
variable that is not set; override of a wrong shape    tests/test_settings.py
RPC URLs: plain, spaces, other schemes, one thrice     tests/test_settings.py
addresses: checksum, digits, no code, another contract tests/test_settings.py, tests/test_checks.py
token decimals that lie, absurd symbols, names         tests/test_checks.py, tests/watchers
chain id of another chain; clock; ports                tests/test_checks.py, tests/app/test_doctor_places.py
mainnet chain ids                                      tests/test_cli.py (live signs on test chains only)
policy: thresholds, tiers, shares, caps, dwell         tests/engine/test_policy_file.py, test_policy_tiers.py
keystore: missing, mode, none, of another account      tests/test_checks.py, chain/test_signer_keystore.py
state folder, journal: unwritable, changed, read-only  tests/test_checks.py, tests/test_cli.py, tests/pipeline
webhook of the alerts: no such service                 tests/test_checks.py
=====================================================  ====================================================
"""

import os
from pathlib import Path

import pytest
from settings_texts import GOOD, write

from bot.errors import ConfigError
from bot.settings import load_settings, named_policy

KEYS = "id = 31337"


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "alvh.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    """Return why a file is refused: one line without the secret of its URL."""
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert len(str(caught.value)) < 1_000
    return str(caught.value)


def with_keys(*lines: str) -> str:
    return GOOD.replace(KEYS, "\n".join([KEYS, *lines]))


# the file as such


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "chain is missing"),
        (GOOD.encode("utf-16"), "save it as UTF-8"),
        (GOOD.encode() + b"\xed\xa0\x80", "save it as UTF-8"),
        (GOOD.encode() + b"\x00", "not valid TOML"),
        (GOOD[: len(GOOD) // 2], "not valid TOML"),
        (GOOD[: GOOD.index("secret-key") + 3], "not valid TOML"),
        (with_keys("id = 1"), "Cannot overwrite a value"),
        (GOOD + "\n[chain]\nid = 1\n", "twice"),
        ("chain:\n  id: !!python/object:os.system\n", "not valid TOML"),
        ('{"chain": {"id": 1}}', "not valid TOML"),
        ("deep = " + "[" * 5_000 + "]" * 5_000 + GOOD, "nested too deep"),
        ("#" + "x" * 10_000_000 + "\n" + GOOD, "over 1,000,000 bytes"),
        (GOOD.replace("[chain]", "[[chain]]"), "chain: must be a table, written as [chain]"),
        (GOOD.replace("[[feeds]]", "[feeds]"), "must be a list; a list of tables is written as [[feeds]]"),
    ],
    ids=[
        "empty",
        "UTF-16",
        "half a letter",
        "a zero byte",
        "half written",
        "half a line",
        "a key twice",
        "a table twice",
        "YAML",
        "JSON",
        "5,000 brackets",
        "ten megabytes",
        "a list for a table",
        "a table for a list",
    ],
)
def test_a_file_that_is_no_configuration_says_so_in_one_line(tmp_path, text, words):
    assert words in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace(" = ", "\t=\t").encode(),
    ],
    ids=["a byte order mark", "lines of Windows", "tabs"],
)
def test_what_editors_do_to_a_file_does_no_harm(tmp_path, text):
    assert load_settings(written(tmp_path, text)).chain.id == 31337


def test_a_link_is_followed_and_a_folder_a_pipe_and_a_device_are_refused(tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(written(tmp_path, GOOD))
    assert load_settings(link).chain.id == 31337
    assert "Is a directory" in refusal(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in refusal(pipe)
    assert "no regular file" in refusal(Path("/dev/zero"))
    assert "cannot come from a pipe" in refusal(Path("-"))


def test_a_policy_file_is_read_with_the_same_care(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("deep = " + "[" * 5_000 + "]" * 5_000)
    with pytest.raises(ConfigError, match="nested too deep"):
        named_policy(path)
    path.write_bytes(b'\xef\xbb\xbfname = "mine"\nextends = "steward"\n')
    assert named_policy(path).name == "mine"


# an older version


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("execution", "deadline_s = 120.0", "it is execution.wait_s now"),
        ("lyra", "greek_cache = '0x00'", "not needed any more; remove it"),
        ("lyra", "settlement_pool = '0x00'", "lyra.settlement_pool_fee"),
    ],
)
def test_a_key_of_an_earlier_version_says_what_became_of_it(tmp_path, section, key, words):
    found = refusal(written(tmp_path, f"{GOOD}\n[{section}]\n{key}\n"))
    assert f"unknown key {section}.{key.split()[0]}; " in found
    assert words in found


# numbers


@pytest.mark.parametrize(
    "value", ["true", "'true'", "0.1", "nan", "inf", "-0", "-1", str(2**256), "'0x7a69'"]
)
def test_a_chain_id_is_a_whole_number_that_can_be_one(tmp_path, value):
    found = refusal(written(tmp_path, GOOD.replace(KEYS, f"id = {value}")))
    assert "id" in found
    assert value.strip("'").removeprefix("-") in found


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("poll_s", ["0", "0.001", "1e9", "nan", "inf", "-1", "true"]),
        ("confirmations", ["0", "10001", "1.5", "-1", "true", "nan"]),
        ("max_head_lag", ["-1", "10001", "0.5", "false"]),
        ("timeout_s", ["0", "121", "inf", "'soon'"]),
        ("agreement", ["0", "11", "true", "1.5"]),
    ],
)
def test_a_number_of_a_chain_keeps_to_its_bounds(tmp_path, key, values):
    for value in values:
        found = refusal(written(tmp_path, with_keys(f"{key} = {value}")))
        assert key in found, (value, found)
        assert ", was " in found, (value, found)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("max_swap_slippage_bps", ["0", "-1", "1001", "'0.3%'", "30.5", "true"]),
        ("max_fee_gwei", ["0", "-5", "inf", "nan", "1e400", "true"]),
        ("gas_ceiling", ["0", "20999", "30000001", "1.5"]),
        ("wait_s", ["0", "-1", "inf"]),
    ],
)
def test_a_bound_on_money_is_finite_and_in_its_own_unit(tmp_path, key, values):
    for value in values:
        assert f"{key}" in refusal(written(tmp_path, f"{GOOD}\n[execution]\n{key} = {value}\n")), value


def test_a_number_as_a_text_counts_as_the_number(tmp_path):
    """As a variable of the environment has it."""
    assert load_settings(written(tmp_path, with_keys('poll_s = "3"'))).chain.poll_s == 3.0


# names and places


@pytest.mark.parametrize(
    "address",
    [
        "0x0",
        "vitalik.eth",
        "XE60HAMICDXSV5QXVJA7TJW47Q9CHWKJD",
        "0х5FbDB2315678afecb367f032d93F642f64180aa3",
        "",
    ],
    ids=["short", "a name of ENS", "ICAP", "a Cyrillic x", "nothing"],
)
def test_what_only_looks_like_an_address_is_refused(tmp_path, address):
    text = GOOD.replace("0x5FbDB2315678afecb367f032d93F642f64180aa3", address)
    assert "40 hex digits" in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("value", "name"),
    [("a\n", "a line break"), (" a", "a space"), ("", "nothing")],
)
def test_a_variable_that_is_no_value_is_named_and_not_shown(tmp_path, monkeypatch, value, name):
    monkeypatch.setenv("ALVH_TRIED", value)
    text = GOOD.replace("http://127.0.0.1:8545/secret-key", "${ALVH_TRIED}")
    assert "export ALVH_TRIED" in refusal(written(tmp_path, text)), name


@pytest.mark.parametrize("section", ["[alerts]\nurls = ['json://169.254.169.254/latest']", ""])
def test_the_place_where_clouds_keep_keys_is_no_target(tmp_path, section):
    text = GOOD + section
    if not section:
        text = GOOD.replace("http://127.0.0.1:8545", "http://169.254.169.254")
    assert "a link-local address" in refusal(written(tmp_path, text))


@pytest.mark.parametrize("key", ["mnemonic = 'test test'", "private_key = '0x11'", "password = 'word'"])
def test_a_key_or_mnemonic_has_no_place_in_a_configuration(tmp_path, key):
    found = refusal(written(tmp_path, f"{GOOD}\n{key}\n"))
    assert f"unknown key account.{key.split()[0]}" in found
    assert "test test" not in found
    assert "0x11" not in found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("state_dir = ''", "state_dir: must name a folder"),
        ("state_dir = 5", "state_dir: "),
        ("[policy]\npreset = 'Classic'", "'classic', 'steward' or 'fortress', was 'Classic'"),
        ("[alerts]\nleast = 'loud'", "'info', 'warning' or 'critical', was 'loud'"),
        (
            "[policy]\nowners = ['0x5FbDB2315678afecb367f032d93F642f64180aa3']\nthreshold = 2",
            "over the 1 owners",
        ),
    ],
)
def test_a_word_that_is_none_of_the_allowed_ones_names_them(tmp_path, line, words):
    text = f"{line}\n{GOOD}" if line.startswith("state_dir") else f"{GOOD}\n{line}\n"
    assert words in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r'address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"', f'address = "0x{"5e" * 32}"'),
        ("heartbeat_s = 3600", f'heartbeat_s = "{"5e" * 14}"'),
        ("[account]", f'[logs]\nfile = "${{a{"5e" * 14}}}"\n[account]'),
    ],
    ids=["a key for an address", "a token for a number", "a variable of small letters"],
)
def test_a_secret_in_a_wrong_place_is_refused_and_not_repeated(tmp_path, old, new):
    """REL-I4, Y3."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, GOOD.replace(old, new)))
    assert "5e5e" not in str(caught.value)
