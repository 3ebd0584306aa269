"""The demo as a new user runs it: the production path on a devnet with the real contracts."""

import json
import os
import subprocess
import sys
from datetime import datetime

import pytest

pytestmark = pytest.mark.devnet

TIERS = ["CALM", "GUARDED", "ELEVATED", "SEVERE", "CRISIS"]


def play(tmp_path, scenario, seed, *, keep=None):
    """Run `alvh demo` and return its JSON."""
    out = tmp_path / f"{scenario}-{seed}.json"
    command = [sys.executable, "-c", "from bot.cli import main; main()", "demo", "--scenario", scenario]
    command += ["--seed", str(seed), "--json", str(out), "--report", str(tmp_path / "report.html")]
    command += ["--keep", str(keep)] if keep else []
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert max(map(len, done.stdout.splitlines())) <= 80 or str(tmp_path) in done.stdout
    return json.loads(out.read_text())


def filled(document, **wanted):
    return [
        order
        for order in document["orders"]
        if order["status"] == "filled" and all(order[key] == value for key, value in wanted.items())
    ]


@pytest.mark.xdist_group("demo-terra")
def test_terra_raises_the_tiers_buys_three_layers_and_cuts_the_fall(tmp_path):
    keep = tmp_path / "kept"
    document = play(tmp_path, "terra", 1, keep=keep)
    try:
        tiers = [change["tier"] for change in document["tiers"]]
        assert tiers[0] == "CALM"
        # Two families vote at once, one of them over R1's 0.75: the step goes past ELEVATED.
        assert {"GUARDED", "SEVERE"} <= set(tiers)
        ranks = [TIERS.index(name) for name in tiers]
        assert ranks[: ranks.index(3) + 1] == sorted(ranks[: ranks.index(3) + 1]), (
            "no step down on the way up"
        )
        for layer in ("NEAR", "MID", "TAIL"):
            assert filled(document, layer=layer, side="buy", option_type="put"), f"{layer} was not bought"
        sold = filled(document, layer="NEAR", side="sell")
        assert len(sold) >= 3, "a NEAR put deep in the money is sold in three parts (R28)"
        assert all(order["premium_usd"] > 0.0 for order in sold)
        final, limits = document["final"], document["limits"]
        assert final["hedged_max_drawdown"] < final["unhedged_max_drawdown"]
        assert final["hedged_value_usd"] > final["unhedged_value_usd"]
        assert 0.0 < limits["max_session_spend_usd"] <= limits["session_cap_usd"]
        check_on_chain(document, keep)
        page = (tmp_path / "report.html").read_text()
        assert "SEVERE" in page
    finally:
        subprocess.run(
            [sys.executable, "-c", "from bot.cli import main; main()", "devnet", "down", "--dir", str(keep)],
            check=True,
            capture_output=True,
        )
    check_offline(document, keep)


def check_offline(document, keep):
    """R25: replayed without the chain it decides the same, and the money differs by fills alone."""
    found = keep / "replayed.json"
    command = [sys.executable, "-c", "from bot.cli import main; main()", "replay", "--json", str(found)]
    command += ["--config", str(keep / "alvh.toml"), "--recording", str(keep / "recording")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    replayed = json.loads(found.read_text())
    assert replayed["steps"] > 200
    assert replayed["differences"] == []
    money, orders = replayed["money"], filled(document)
    assert money["without_offline_price"] == 0
    assert len(money["orders"]) == len(orders)
    cash_usd = sum(
        (-1.0 if order["side"] == "buy" else 1.0) * order["premium_usd"]
        - order["swap_usd"]
        - order["gas_usd"]
        for order in orders
    )
    assert money["filled"]["total_usd"] == pytest.approx(cash_usd, abs=0.01)
    traded_usd = sum(order["premium_usd"] for order in orders)
    difference = {part: money["filled"][part] - money["offline"][part] for part in money["filled"]}
    assert difference["total_usd"] == pytest.approx(
        sum(usd for part, usd in difference.items() if part != "total_usd"), abs=0.01
    )
    assert abs(difference["price_usd"] + difference["fee_usd"]) < 0.05 * traded_usd


def check_on_chain(document, keep):
    """Look every transaction up on the devnet that the demo left running."""
    import urllib.request

    port = json.loads((keep / "running.json").read_text())["port"]
    hashes = [order["tx_hash"] for order in document["orders"] if order["status"] == "filled"]
    body = [
        {"jsonrpc": "2.0", "id": number, "method": "eth_getTransactionReceipt", "params": [value]}
        for number, value in enumerate(hashes)
    ]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - loopback
        receipts = {item["id"]: item["result"] for item in json.load(reply)}
    assert len(receipts) == len(hashes) == len(set(hashes)) > 3
    assert all(receipt["status"] == "0x1" for receipt in receipts.values())


@pytest.mark.campaign
def test_calm_stays_calm_and_buys_only_the_standing_tail(tmp_path):
    document = play(tmp_path, "calm", 1)
    assert [change["tier"] for change in document["tiers"]] == ["CALM"]
    assert document["orders"]
    assert {order["layer"] for order in document["orders"]} == {"TAIL"}
    assert document["chain_id"] == 31337
    for change in document["tiers"]:
        assert datetime.fromisoformat(change["ts"]).utcoffset().total_seconds() == 0
