"""JSON lines: one for each thing that happens, no secret in any form (REL-Y3), rotation, a full disk."""

import base64
import json
import logging
import os
import stat
import time
from dataclasses import replace

import pytest
from pipeline_builders import filled, leg, record_of

from bot.errors import ConfigError, TransientError
from bot.model.intent import IntentEvent, IntentState
from bot.model.tier import Tier
from bot.observe.logs import event_log
from bot.observe.redaction import HIDDEN, Redactor

KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
PASSWORD = "correct horse/battery+staple"
RPC = "https://eth.example/v2/Tok3nOfTheNode?key=an0therT0ken"
BOT_TOKEN = "123456789:AAE-abcdefghijklmnopqrstuvwxyz123456"
MNEMONIC = "test walk nut penalty hip pave soap entry language right filter choice"
HASH = "0x" + "ab" * 32


def written(key: bytes) -> dict[str, str]:
    """Return a key as it may come to be written."""
    text = key.hex()
    return {
        "hex": text,
        "0x": f"0x{text}",
        "upper": text.upper(),
        "spaced": " ".join(text[n : n + 2] for n in range(0, 64, 2)),
        "colons": ":".join(text[n : n + 2] for n in range(0, 64, 2)),
        "base64": base64.b64encode(key).decode(),
        "base64 of urls": base64.urlsafe_b64encode(key).decode().rstrip("="),
        "decimal": str(int.from_bytes(key)),
        "repr of bytes": repr(key),
        "list": repr(list(key)),
        "mnemonic": MNEMONIC,
        "password": PASSWORD,
        "password in base64": base64.b64encode(PASSWORD.encode()).decode(),
        "password in hex": PASSWORD.encode().hex(),
        "rpc": RPC,
        "rpc token": "Tok3nOfTheNode",
        "rpc query": "an0therT0ken",
        "alert address": f"tgram://{BOT_TOKEN}/chat",
        "bot token": BOT_TOKEN,
    }


FORMS = written(KEY)
SECRETS = (PASSWORD, RPC)


@pytest.fixture
def log(tmp_path):
    with event_log(
        tmp_path / "alvh.log",
        level="info",
        max_bytes=10**6,
        keep=2,
        redactor=Redactor(SECRETS),
        on_trouble=_no,
    ) as made:
        yield made


def _no(error):
    raise AssertionError(error)


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "alvh.log").read_text().splitlines()]


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_in_no_line_whichever_way_it_came(log, tmp_path, form):
    """Through a trouble, a notice, a decision, an alert, a library's own log, and an exception in it."""
    secret = FORMS[form]
    log.trouble(TransientError(f"the node said {secret}, and hung up"))
    log.notice(f"({secret})")
    log.step(record_of(because=f"it is {secret}", holds=(f"cannot sign: {secret}",)))
    log.alert(severity="info", kind="tier", key="x", title=secret)
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("some.library").warning("failed with %s", secret, exc_info=True)
    text = (tmp_path / "alvh.log").read_text()
    assert len(text.splitlines()) == 5
    assert "hung up" in text
    for canary in {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}:
        assert canary not in text
    if form in ("hex", "upper", "0x", "spaced", "colons"):
        assert KEY.hex()[:16] not in text.lower().replace(" ", "").replace(":", "")


@pytest.mark.parametrize(
    "field", ["password", "signer_token", "mnemonic", "api_key", "Authorization", "secret"]
)
def test_a_field_that_is_named_as_a_secret_is_hidden(field):
    assert Redactor().value(field, "anything") == HIDDEN
    assert Redactor().value("text", {field: "anything", "a": (1, None, True)}) == {
        field: HIDDEN,
        "a": [1, None, True],
    }


@pytest.mark.parametrize(
    "text",
    [
        "HOLD: price of ETH is 70 s old, at most 60 s allowed",
        "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045 has nonce 7, the journal accounts for 5",
        "bought 2 MID ETH 2,000 put of 2022-05-20 for 1,234 USD",
        "the last decision is 61 s old: the node refused the connection. Check the node with alvh doctor.",
        "no price can be pushed yet while the whole market waits for what others will do about their pools",
        "/var/lib/alvh-bot/state/journal-dry-run.sqlite could not be written",
        "",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text):
    assert Redactor(SECRETS).text(text) == text


def test_of_an_address_the_host_stays():
    assert Redactor().text(f"POST {RPC} failed") == "POST https://eth.example/… failed"
    assert Redactor().text(f"the_{RPC}") == "the_https://eth.example/…"
    assert Redactor().text("0x5FbDB2315678afecb367f032d93F642f6://h/Tok3n") == "***://***"
    assert Redactor().text("://h/Tok3n") == "://***"


def test_hashes_that_are_published_stay_in_their_fields_and_nowhere_else(log, tmp_path):
    log.step(record_of(outcomes=(replace(filled(leg()), tx_hash=HASH, because=f"see {HASH}"),)))
    _, order = lines(tmp_path)
    assert (order["tx_hash"], order["because"]) == (HASH, f"see {HIDDEN}")
    assert Redactor().value("tx_hash", f"{PASSWORD} {KEY.hex()}") != f"{PASSWORD} {KEY.hex()}"


def test_there_is_a_line_for_each_decision_order_transaction_trouble_and_alert(log, tmp_path):
    log.step(record_of(tier=Tier.SEVERE, because="ETH fell", outcomes=(filled(leg()),)))
    event = IntentEvent(
        key="plan-1/1-open", leg_key="plan-1", purpose="open", state=IntentState.FINAL, at_s=0.0, chain_id=1,
        sender="0x1", nonce=4, raw="0xf86c" + "ab" * 100, tx_hash=HASH,
    )  # fmt: skip
    log.transaction(event)
    log.trouble(TransientError("the node refused"))
    log.alert(severity="critical", kind="tier", key="tier:ETH/USDC", title="SEVERE")
    found = lines(tmp_path)
    assert [item["event"] for item in found] == ["decision", "order", "transaction", "trouble", "alert"]
    decision, order, transaction, trouble, _ = found
    assert decision["tiers"] == {"ETH/USDC": "SEVERE"}
    assert (order["key"], order["premium_usd"], order["status"]) == ("plan-1", 100.0, "filled")
    assert (transaction["tx_hash"], transaction["nonce"], "raw" in transaction) == (HASH, 4, False)
    assert (trouble["kind"], trouble["level"]) == ("TransientError", "warning")
    assert all(item["timestamp"].endswith("Z") for item in found)


def test_the_file_is_its_owners_alone_also_after_it_was_rotated(tmp_path):
    path = tmp_path / "alvh.log"
    path.touch(mode=0o644)
    with event_log(path, level="info", max_bytes=2_000, keep=2, redactor=Redactor(), on_trouble=_no) as made:
        for number in range(100):
            made.notice(f"line {number:05d}")
    files = sorted(item.name for item in tmp_path.iterdir())
    assert files == ["alvh.log", "alvh.log.1", "alvh.log.2"]
    for item in tmp_path.iterdir():
        assert stat.S_IMODE(item.stat().st_mode) == 0o600
        assert item.stat().st_size <= 2_000
    assert "line 00099" in path.read_text()


def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path):
    """/dev/full takes nothing, as a full disk does."""
    path, troubles = tmp_path / "full.log", []
    path.symlink_to("/dev/full")
    before = os.stat("/dev/full").st_mode
    with event_log(
        path, level="info", max_bytes=10**6, keep=1, redactor=Redactor(), on_trouble=troubles.append
    ) as made:
        for _ in range(5):
            made.notice("lost")
            made.step(record_of())
        assert made.failures == 10
    assert made.failures >= 10, "closing it stops nothing either"
    (trouble,) = troubles
    assert "No space left on device; decisions go on without it" in str(trouble)
    assert os.stat("/dev/full").st_mode == before


@pytest.mark.parametrize("path", ["missing/alvh.log", "."])
def test_a_log_that_cannot_be_opened_is_refused_at_the_start(tmp_path, path):
    with (
        pytest.raises(ConfigError, match="cannot be opened"),
        event_log(
            tmp_path / path, level="info", max_bytes=10**6, keep=1, redactor=Redactor(), on_trouble=_no
        ),
    ):
        pass


def test_afterwards_logging_is_as_it_was(tmp_path):
    root = logging.getLogger()
    before = list(root.handlers), root.level
    with event_log(
        tmp_path / "a.log", level="debug", max_bytes=10**6, keep=1, redactor=Redactor(), on_trouble=_no
    ):
        assert list(root.handlers) != before[0]
    assert (list(root.handlers), root.level) == before


@pytest.mark.parametrize(
    ("part", "times"),
    [("0 ", 50_000), ("ab ", 30_000), ("word ", 20_000), ("a", 100_000), ("\\", 50_000), ("b'", 50_000)],
    ids=["figures", "pairs", "words", "a", "backslash", "bytes"],
)
def test_a_long_text_takes_no_long_time(part, times):
    began_s = time.thread_time()
    Redactor(SECRETS).text(f"b'{part * times}")
    assert time.thread_time() - began_s < 1.0
