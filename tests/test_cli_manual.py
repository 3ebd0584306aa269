"""``alvh positions, quote, close, roll, exercise, pause, resume, history`` on the devnet's real contracts."""

import os
import signal

import pytest
from commands import Home

from bot.chain.pause import pause_path
from bot.chain.rpc import Rpc

pytestmark = pytest.mark.devnet
LIVE = ("--mode", "live", "--json")


def bought(home: Home) -> dict:
    """Let the bot buy its tail protection and return the position."""
    ended = home.alvh("run", "--live", "--once", "--json")
    assert ended.code == 0, ended
    return only_position(home)


def only_position(home: Home) -> dict:
    (found,) = home.alvh("positions", *LIVE).document["positions"]
    return found


@pytest.mark.usefixtures("signer")
def test_a_hedge_by_hand_from_purchase_to_history(home: Home):
    held = bought(home)
    name, size = held["position"], held["contracts"]
    assert held["layer"] == "TAIL"
    assert 0.0 < held["liquidation_usd"] < held["cost_usd"]
    assert held["intrinsic_usd"] == 0.0
    assert held["due"]["action"] == "nothing"

    slots = home.alvh("quote", *LIVE).document["slots"]
    assert {item["layer"] for item in slots} == {"NEAR", "MID", "TAIL"}
    best = next(item for item in slots if item["layer"] == "TAIL")["quotes"]
    assert best == sorted(best, key=lambda item: -item["gain_per_cost"])
    for quote in best:
        parts = quote["premium_usd"] + quote["swap_usd"] + quote["gas_usd"] + quote["exit_gas_usd"]
        assert quote["net_unit_usd"] == pytest.approx(parts / quote["contracts"])

    sold = home.alvh("close", name, "--size", "10", "--yes", *LIVE).document
    (order,) = sold["orders"]
    assert (order["status"], order["size"]) == ("filled", 10.0)
    assert order["premium_usd"] >= sold["asked"][0]["limit_usd"]
    assert only_position(home)["contracts"] == pytest.approx(size - 10.0)

    rolled = home.alvh("roll", name, "--yes", *LIVE).document
    assert [item["status"] for item in rolled["orders"]] == ["filled", "filled"]
    after = only_position(home)
    assert after["position"] != name
    assert after["instrument"]["expiry_ts"] > held["instrument"]["expiry_ts"]
    assert after["layer"] == "TAIL"

    home.alvh("exercise", after["position"], "--yes", *LIVE[:2]).refused(
        4, "nothing to collect", "alvh close"
    )
    told = home.alvh("history", *LIVE).document
    assert [item["side"] for item in told["orders"]] == ["buy", "sell", "buy", "sell"]
    assert told["open"] == told["waiting"] == []
    assert {item["state"] for item in told["transactions"]} >= {"reserved", "signed", "final"}


@pytest.mark.usefixtures("signer")
def test_while_paused_nothing_is_opened_and_closing_works(home: Home):
    name = bought(home)["position"]
    paused = home.alvh("pause", "--why", "a look at the market")
    assert "a look at the market" in paused.out
    step = home.alvh("run", "--live", "--once", "--json").document
    assert "a look at the market" in " ".join(step["holds"])
    # A roll needs a purchase: the signer itself refuses to sign it, whoever asks.
    roll = home.alvh("roll", name, "--yes", *LIVE)
    assert roll.code == 1, (roll, home.alvh("history", *LIVE))
    (refused,) = roll.document["orders"]
    assert "paused" in refused["because"]
    assert only_position(home)["position"] == name
    closed = home.alvh("close", name, "--yes", *LIVE).document
    assert closed["orders"][0]["status"] == "filled"
    home.alvh("resume").refused(4, "--yes")
    assert pause_path(home.folder).exists()
    assert home.alvh("resume", "--yes").code == 0
    assert not pause_path(home.folder).exists()
    assert home.alvh("resume", "--yes").out.strip() == "nothing is paused"


@pytest.mark.usefixtures("signer")
async def test_a_running_bot_does_the_order_itself(home: Home, rpc: Rpc):
    bought(home)
    await rpc.request("evm_mine")
    running = home.start("run", "--live", "--json")
    running.until(lambda: running.out.count("\n") >= 1)
    name = only_position(home)["position"]
    asking = home.start("close", name, "--size", "5", "--yes", *LIVE)
    asking.until(lambda: list(home.folder.rglob("orders-live/*.json")))
    await rpc.request("evm_mine")  # the chain stands still here unless somebody mines
    closed = asking.wait()
    assert closed.code == 0, closed
    assert closed.document["orders"][0]["status"] == "filled"
    assert running.out.count('"sell"') == 1
    os.kill(running.pid, signal.SIGINT)
    assert running.wait().code == 0


SENSELESS = (
    (("close", "lyra:99", "--yes"), 2, ("lyra:99", "held are")),
    (("close", "lyra:1", "--size", "1e9", "--yes"), 4, ("--size", "has")),
    (("close", "lyra:1", "--size", "0", "--yes"), 4, ("--size",)),
    (("close", "lyra:1"), 4, ("--yes",)),
    (("roll", "lyra:1", "--to", "strike:999", "--yes"), 2, ("strike:999", "alvh quote")),
)


@pytest.mark.usefixtures("signer")
def test_an_order_that_makes_no_sense_is_refused_before_anything_is_sent(home: Home):
    bought(home)
    for command, code, words in SENSELESS:
        ended = home.alvh(*command, "--mode", "live")
        assert ended.code == code, ended
        for word in words:
            assert word in ended.err
    assert len(home.alvh("history", *LIVE).document["orders"]) == 1


def test_a_dry_run_has_a_book_and_orders_of_its_own(home: Home):
    assert home.alvh("run", "--once", "--json").code == 0
    (held,) = home.alvh("positions", "--json").document["positions"]
    assert held["position"].startswith("lyra:paper-")
    closed = home.alvh("close", held["position"], "--yes", "--json").document
    assert closed["orders"][0]["status"] == "filled"
    assert home.alvh("positions", "--json").document["positions"] == []
