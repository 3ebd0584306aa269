"""What an error repeats of a refused value (REL-Y3): enough to find it, nothing of a secret."""

import pytest

from bot.model.refused import refused, without_secrets

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
SEED = "test walk nut penalty hip pave soap entry language right filter choice"
TOKEN = "WeqhFWCEPyYngFb51yBMWXaSCrUZ"


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        f"0x{KEY}",
        KEY.upper(),
        f"{KEY}00",
        " ".join(KEY[n : n + 2] for n in range(0, 64, 2)),
        SEED,
        TOKEN,
        f"https://node.example/v2/{TOKEN}?key={TOKEN}",
        f"v3:{TOKEN}",
        f"tgram://{TOKEN}/chat",
    ],
)
def test_what_may_be_a_secret_is_not_repeated(secret):
    for words in (refused(secret), without_secrets(f"No such command '{secret}'; see --help")):
        for part in (KEY[:8], "penalty", TOKEN[:8]):
            assert part.lower() not in words.lower()
        assert "***" in words


@pytest.mark.parametrize(
    "before",
    ["0x5FbDB2315678afecb367f032d93F642f6", "0x5FbDB2315678afecb367f032d93F642f64180aa3http", "a_http", ""],
)
def test_a_url_that_is_glued_to_a_word_is_one(before):
    """Part ``fuzz``: an address with a URL pasted into it, whose path was repeated."""
    for words in (without_secrets(f"{before}://127.0.0.1:8545/a-key"), refused(f"{before}://host/a-key")):
        assert "a-key" not in words
        assert "://***" in words


@pytest.mark.parametrize("before", ["", "0x5//", "see "])
@pytest.mark.parametrize("host", ["node.example", "127.0.0.1:8545", "eth-1.node.example:443"])
def test_a_url_without_its_scheme_keeps_its_host(before, host):
    assert without_secrets(f"{before}{host}/v2/a-key") == f"{before}{host}/***"


@pytest.mark.parametrize(
    "value",
    [
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C81",
        "1e18",
        "abc",
        "/var/lib/alvh2/state-of-the-first-bot",
        "/var/lib/my.data/state",
        "docs/configuration.md",
        "./my.data/state",
        "2026-11-20T12:00:00Z",
        "v3:123456",
        "fortress",
        "--from-block",
    ],
)
def test_what_is_no_secret_is(value):
    assert refused(value) == repr(value)
    assert without_secrets(value) == value


def test_a_long_value_is_cut():
    assert refused("a b " * 50) == repr("a b " * 50)[:77] + "…"
    assert refused(7) == "7"
