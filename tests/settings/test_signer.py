"""The signer's section: caps in whole tokens, and where a key lies that is not here."""

import pytest
from settings_texts import GOOD, write

from bot.errors import ConfigError
from bot.settings import load_settings

TOKEN = "0x" + "70" * 20
CAP = f"""
[[signer.caps]]
token = "{TOKEN}"
decimals = 6
per_transaction = 1500.2500009
per_day = 3000
"""


def test_caps_are_integers_of_the_token_rounded_down(tmp_path):
    settings = load_settings(write(tmp_path, GOOD + CAP))
    (cap,) = settings.signer.caps
    assert (cap.transaction_raw, cap.day_raw) == (1_500_250_000, 3_000_000_000)
    assert settings.path == tmp_path / "alvh.toml"


def test_without_the_section_there_are_no_caps_and_no_service(tmp_path):
    signer = load_settings(write(tmp_path, GOOD)).signer
    assert (signer.caps, signer.url) == ((), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CAP + CAP, "a token stands there twice"),
        (CAP.replace("per_day = 3000", "per_day = 10"), "per_day 10 is under per_transaction"),
        (CAP.replace("per_day = 3000", "per_day = nan"), "signer.caps.0.per_day"),
        (CAP.replace("per_day = 3000", "per_day = inf"), "signer.caps.0.per_day"),
        (CAP.replace("per_day = 3000", "per_day = 0"), "signer.caps.0.per_day"),
        (CAP.replace("decimals = 6", "decimals = 37"), "signer.caps.0.decimals"),
        (CAP.replace("decimals = 6", ""), "signer.caps.0.decimals is missing"),
        (CAP.replace(TOKEN, "0x12"), "signer.caps.0.token"),
        (CAP + 'more = "x"\n', r"unknown key signer\.caps\.0\.more; there are "),
        ('\n[signer]\nurl = "http://signer.example.com/secret-key"\n', "plain http to a public host"),
        ('\n[signer]\nurl = "ftp://127.0.0.1/secret-key"\n', "signer.url"),
        ("\n[signer]\ntimeout_s = 0\n", "signer.timeout_s"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(write(tmp_path, GOOD + text))
    assert "secret-key" not in str(caught.value)


OWN_USER = '[signer]\nfolder = "/var/lib/alvh-signer"\nuser = "alvh-signer"\ngroup = "alvh"\n'


def test_a_signer_under_a_user_of_its_own_has_a_folder_a_user_and_a_group(tmp_path):
    signer = load_settings(write(tmp_path, GOOD + OWN_USER)).signer
    assert (str(signer.folder), signer.user, signer.group) == ("/var/lib/alvh-signer", "alvh-signer", "alvh")


@pytest.mark.parametrize("left_out", ["folder", "user", "group"])
def test_folder_user_and_group_stand_together(tmp_path, left_out):
    text = "\n".join(line for line in OWN_USER.splitlines() if not line.startswith(left_out))
    with pytest.raises(ConfigError, match="signer: folder, user and group stand together"):
        load_settings(write(tmp_path, GOOD + text))
