"""doctor and check-addresses: each bad input is one row that names it, and never a crash."""

import json
import re
import time
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web
from commands import Home
from faulty_node import faulty_node
from web_server import reply, sources_at

from bot.app.check_addresses import check
from bot.app.checks import Check, Health, healthy
from bot.app.doctor import doctor
from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet
from bot.settings import load_settings

pytestmark = pytest.mark.devnet

ACCOUNT = "0x" + "12" * 20  # no code
ODD = "0x" + "0d" * 20  # where the tests put a contract


def contract(symbol: bytes, *, length: int | None = None) -> str:
    """Return code that answers every call with a string of ``length`` bytes that begins with ``symbol``."""
    size = len(symbol) if length is None else length
    text = symbol.ljust(32, b"\0")[:32].hex()
    total = 64 + (size + 31) // 32 * 32
    return f"0x602060005262{size:06x}6020527f{text}60405262{total:06x}6000f3"


async def named(home: Home) -> dict[str, Check]:
    """Run doctor; return its rows by name, each of which is one line."""
    rows = await doctor(home.config)
    for row in rows:
        for text in (row.name, row.found, row.mend):
            assert text.isprintable(), row
        assert row.mend or row.health is not Health.FAILED, row
    return {row.name: row for row in rows}


async def only_failure(home: Home) -> Check:
    """Run doctor; return the one row that failed."""
    failures = [row for row in (await named(home)).values() if row.health is Health.FAILED]
    assert len(failures) == 1, failures
    return failures[0]


async def failures(home: Home) -> str:
    rows = [row for row in (await named(home)).values() if row.health is Health.FAILED]
    return "\n".join(f"{row.name}: {row.found} -> {row.mend}" for row in rows)


async def test_a_good_configuration_is_healthy(home: Home):
    rows = await named(home)
    assert healthy(tuple(rows.values())), rows
    assert re.fullmatch(r"(\d\d) of \1 answer as configured", rows["addresses"].found)
    assert "worth" in rows["positions.0"].found
    assert rows["chain 31337 clock"].health is Health.SKIPPED
    assert re.fullmatch(r"options on ETH: [1-9]\d*", rows["venue lyra"].found)


# configuration and files


async def test_a_configuration_that_is_not_there_is_one_row(tmp_path: Path):
    (row,) = await doctor(tmp_path / "nowhere.toml")
    assert row.health is Health.FAILED
    assert "nowhere.toml" in row.found


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r'rpc_url = "http:', 'rpc_url = " http:', "has a space at position 1"),
        (r'rpc_url = "([^"]*)"', 'rpc_url = "http://127.0.0.1:1 "', "has a space at position"),
        (r'rpc_url = "([^"]*)"', 'rpc_url = "http://node.example"', "public host"),
        (
            r'rpc_url = "([^"]*)"',
            'rpc_urls = ["https://a.example/1", "https://a.example/2", "https://a.example/3"]\nagreement = 2',
            "a.example 3 times",
        ),
        (r"address = '0x\w{40}'", f"address = '{ACCOUNT[:-1]}'", "40 hex digits"),
        (
            r"address = '0x\w{40}'",
            "address = '0x5fbDB2315678afecb367f032d93F642f64180aa3'",
            "wrong checksum, the right form is 0x5FbDB2315678afecb367f032d93F642f64180aa3",
        ),
        (r"\[chain\]", "[chain", "not valid TOML"),
    ],
)
async def test_a_configuration_that_cannot_be_is_one_row(home: Home, pattern, replacement, words):
    home.change(pattern, replacement)
    row = await only_failure(home)
    assert (row.name, words in row.found) == ("configuration", True), row


async def test_a_policy_that_cannot_be_read(home: Home):
    home.change(r'preset = "classic"', 'file = "nowhere.toml"')
    row = await only_failure(home)
    assert (row.name, "nowhere.toml" in row.found) == ("policy", True)


async def test_a_keystore_that_others_can_read_and_one_that_is_none(home: Home):
    keystore = home.folder / "keystore.json"
    keystore.chmod(0o644)
    assert (await only_failure(home)).mend == f"chmod 600 {keystore}"
    keystore.chmod(0o600)
    keystore.write_text("[]")
    assert "no encrypted keystore" in (await only_failure(home)).found
    keystore.write_text("\x00")
    assert "not JSON" in (await only_failure(home)).found
    keystore.unlink()
    assert "cannot be read" in (await only_failure(home)).found


async def test_the_keystore_of_a_signer_under_its_own_user_is_not_this_users_to_read(home: Home):
    part = f'[signer]\nfolder = "{home.folder}/own"\nuser = "alvh-signer"\ngroup = "alvh"\n'
    home.config.write_text(home.config.read_text() + part)
    (home.folder / "keystore.json").unlink()
    row = (await named(home))["keystore"]
    assert (row.health, "alvh-signer holds it" in row.found) == (Health.SKIPPED, True)


async def test_a_keystore_of_another_account(home: Home):
    home.change(r"\[account\]\naddress = '0x\w{40}'", f"[account]\naddress = '{ACCOUNT}'")
    keystore = home.folder / "keystore.json"
    table = json.loads(keystore.read_text())
    keystore.write_text(json.dumps(table | {"address": "ab" * 20}))
    assert ACCOUNT in (await only_failure(home)).found


async def test_a_state_folder_that_cannot_be(home: Home):
    (home.folder / "file").touch()
    home.change(r'state_dir = "[^"]*"', f'state_dir = "{home.folder}/file/state"')
    row = await only_failure(home)
    assert (row.name, "file/state" in row.found) == ("state_dir", True)


async def test_a_journal_that_is_none(home: Home):
    home.journal("dry-run").write_text("not a database" * 100)
    row = await only_failure(home)
    assert row.name == "journal dry-run"
    assert "journal-dry-run.sqlite" in row.found


# the chain


async def test_a_node_that_is_dead_keeps_its_key(home: Home):
    home.change(r'rpc_url = "[^"]*"', 'rpc_url = "http://127.0.0.1:9/secret-key"')
    rows = await named(home)
    assert rows["chain 31337 provider http://127.0.0.1:9/…"].health is Health.FAILED
    assert rows["addresses"].health is Health.SKIPPED
    assert rows["positions.0"].health is Health.SKIPPED
    assert "secret" not in repr(rows)


async def test_a_node_of_another_chain(home: Home):
    home.change("id = 31337", "id = 1")
    assert "is on chain 31337, configured is 1" in (await only_failure(home)).found


@pytest.mark.parametrize(
    "answer",
    ["null", "[]", "7", '{"jsonrpc": "2.0", "id": 1}', "", "<html>" * 1000, '{"result": "\x00"}'],
)
async def test_a_node_that_answers_nonsense(home: Home, answer):
    async with faulty_node() as node:
        node.answer = node.raw(answer)
        home.change(r'rpc_url = "[^"]*"', f'rpc_url = "{node.url}"')
        row = await only_failure(home)
        assert row.name.startswith("chain 31337 provider")


@pytest.mark.parametrize(
    "result", [{}, {"number": "0x1"}, {"number": "0xzz", "timestamp": 3}, {"number": None}]
)
async def test_a_node_whose_blocks_are_malformed(home: Home, result):
    async with faulty_node() as node:

        async def answer(_: web.Request, body: dict) -> web.Response:
            found = hex(31337) if body["method"] == "eth_chainId" else result
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": found})

        node.answer = answer
        home.change(r'rpc_url = "[^"]*"', f'rpc_url = "{node.url}"')
        assert (await only_failure(home)).name.startswith("chain 31337 provider")


async def test_a_provider_that_lags_is_named(home: Home, devnet: Devnet):
    async with faulty_node() as node:
        url = devnet.rpc_url

        async def behind(_: web.Request, body: dict) -> web.Response:
            async with Rpc(url) as rpc:
                result = await rpc.read(body["method"], body["params"])
            if body["method"] == "eth_getBlockByNumber" and body["params"][0] == "latest":
                result |= {"number": hex(int(result["number"], 16) - 50)}
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": result})

        node.answer = behind
        home.change(r'rpc_url = "[^"]*"', f"rpc_urls = [{url!r}, {node.url!r}]")
        row = await only_failure(home)
        assert (row.name, "50 blocks behind, allowed are 3" in row.found) == ("chain 31337 head lag", True)


async def test_three_keys_at_one_provider_are_noted(home: Home):
    urls = [f"https://node.invalid/{number}-secret" for number in range(3)]
    home.change(r'rpc_url = "[^"]*"', f"rpc_urls = {urls}\ntimeout_s = 0.5")
    rows = await named(home)
    assert rows["chain 31337 providers"].health is Health.WARN
    assert "3 of 3 are at node.invalid" in rows["chain 31337 providers"].found
    assert "secret" not in repr(rows)


async def test_a_clock_that_is_off_is_named(home: Home):
    """The devnet lives in 2022: by the wall clock its newest block is years old."""
    home.change(r'clock = "chain"', 'clock = "wall"')
    row = await only_failure(home)
    assert row.name == "chain 31337 clock"
    assert "s old" in row.found


async def test_a_multicall_without_code(home: Home):
    home.change(r"multicall3 = '0x\w{40}'", f"multicall3 = '{ACCOUNT}'")
    row = await only_failure(home)
    assert (row.name, row.mend) == ("chain 31337 multicall", "correct chain.multicall3")


async def test_a_websocket_is_asked_for_its_chain(home: Home):
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_json({"jsonrpc": "2.0", "id": 1, "result": replies.pop(0)})
        return socket

    replies: list[object] = [hex(31337), "0x1", {"absurd": True}]
    application = web.Application()
    application.router.add_get("/", serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        home.change("poll_s", f'ws_url = "ws://127.0.0.1:{runner.addresses[0][1]}"\npoll_s')
        assert (await named(home))["chain 31337 websocket"].health is Health.OK
        assert "is on chain 1" in (await only_failure(home)).found
        assert "expected a hex quantity" in (await only_failure(home)).found
    finally:
        await runner.cleanup()
    assert (await only_failure(home)).name == "chain 31337 websocket"


# addresses


ADDRESSES = [
    (
        r"(?<=\[\[feeds\]\]\nlabel = \"ETH/USD\"\nunderlying = \"ETH\"\naddress = )'0x\w{40}'",
        "feeds ETH/USD address",
    ),
    (r"(?<=v3_tick_lens = )'0x\w{40}'", "managers.v3_tick_lens"),
    (r"(?<=stable = )'0x\w{40}'", "lyra.stable"),
    (r"(?<=base_token = )'0x\w{40}'", "perps ETH base_token"),
]


@pytest.mark.parametrize(("pattern", "name"), ADDRESSES)
async def test_an_address_without_code(home: Home, pattern, name):
    home.change(pattern, f"'{ACCOUNT}'")
    row = await only_failure(home)
    assert (row.name, "has no code on chain 31337: it is an account (EOA)" in row.found) == (name, True), row


@pytest.mark.parametrize(
    ("pattern", "other", "words"),
    [
        (r"(?<=stable = )'0x\w{40}'", "weth", r"is the token 'WETH', configured is 'USDC'"),
        (r"(?<=option_market = )'0x\w{40}'", "usdc", "does not answer as lyra_option_market"),
        (r"(?<=v3_position_manager = )'0x\w{40}'", "usdc", "does not answer as uniswap_v3_position_manager"),
        (ADDRESSES[0][0], "usdc", r"does not answer (description|latestRoundData)"),
    ],
)
async def test_another_contract_than_configured(home: Home, devnet: Devnet, pattern, other, words):
    home.change(pattern, f"'{getattr(devnet.deployment, other)}'")
    assert re.search(words, await failures(home))


async def test_a_pool_of_other_tokens(home: Home, devnet: Devnet):
    home.change(rf"address = '{devnet.deployment.v3_pool}'", f"address = '{devnet.deployment.stable_pool}'")
    assert "pools v3:ETH/USDC address" in (found := await failures(home))
    assert "is a pool of" in found


async def test_decimals_that_lie(home: Home):
    text = home.config.read_text().replace("quote_decimals = 6", "quote_decimals = 18", 1)
    home.config.write_text(text)
    assert "pools v2:ETH/USDC quote: " in (found := await failures(home))
    assert "has 6 decimals, configured are 18" in found


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (contract(b"A", length=1_000_000), "symbol has 1,000,000 characters"),
        (contract(b"US\x1b[31mDC"), "symbol has control characters: 'US�[31mDC'"),
        (contract(b"US\nDC"), "symbol has control characters"),
        (contract(b"\xff\xfe"), "symbol has control characters"),
        ("0x00", "does not answer as token"),
        ("0xfe", "does not answer as token"),
        ("0x60016000f3", "does not answer as token"),
    ],
    ids=["1 MB", "escape", "newline", "no UTF-8", "empty", "reverting", "short"],
)
async def test_a_token_with_an_absurd_symbol(home: Home, rpc: Rpc, code, words):
    await rpc.request("anvil_setCode", [ODD, code])
    home.change(r"(?<=\nstable = )'0x\w{40}'", f"'{ODD}'")
    row = await only_failure(home)
    assert (row.name, words in row.found) == ("lyra.stable", True), row
    assert len(row.found) < 300


async def test_a_burned_position_is_named(home: Home, devnet: Devnet):
    home.change(rf"token_id = {devnet.deployment.user_v3_token_id}", "token_id = 999999")
    row = await only_failure(home)
    assert row.name == "positions.0"
    assert "v3:999999 does not exist" in row.found
    assert "burned" in row.found


# the web


async def test_a_web_source_that_does_not_answer(home: Home):
    with home.config.open("a") as file:
        file.write(
            '\n[web]\ntimeout_s = 1.0\n\n[[watch]]\nkind = "hyperliquid"\nbase_url = "http://127.0.0.1:9"\n'
        )
    row = await only_failure(home)
    assert row.name.startswith("web ")


async def test_the_public_book_is_read(home: Home):
    async with sources_at(time.time()) as book:
        with home.config.open("a") as file:
            file.write(f'\n[indicative]\nvenue = "deribit"\nbase_url = "{book.url}/api/v2"\n')
        row = (await named(home))["book of deribit, ETH"]
        assert row.health is Health.OK
        assert re.fullmatch(r"\d+ options, index 3,000\.40 USD", row.found)
        book.faults["/api/v2/public/get_index_price"] = reply({}, status=500)
        assert (await only_failure(home)).name == "book of deribit, ETH"


async def test_two_sources_of_one_name_are_named(home: Home):
    with home.config.open("a") as file:
        file.write('\n[[watch]]\nkind = "uniswap_v2"\npool = "v2:ETH/USDC"\n')
    row = await only_failure(home)
    assert row.name == "sources"
    assert "pool_price_usd:v2:ETH/USDC@pool" in row.found


async def test_alert_targets_are_named_without_their_tokens(home: Home):
    assert (await named(home))["alerts"].health is Health.WARN
    with home.config.open("a") as file:
        file.write('\n[alerts]\nurls = ["json://user:secret-token@127.0.0.1:9/secret-path"]\n')
    assert (row := (await named(home))["alerts"]).health is Health.OK
    assert "secret" not in row.found
    home.change(r'urls = \["json:', 'urls = ["nonsense:')
    row = await only_failure(home)
    assert (row.name, "secret" in row.found) == ("alerts", False)


# the commands


async def test_check_addresses_of_the_known_deployments(home: Home, devnet: Devnet):
    home.change("id = 31337", "id = 11155111")
    found = await check(load_settings(home.config), chain_id=None, is_known=True)
    assert {item.wanted.chain_id for item in found} == {11155111}
    assert not any(item.ok for item in found)
    assert all("is on chain 31337" in item.problem for item in found)


def test_the_commands_print_tables_and_documents_and_exit_by_health(home: Home):
    ended = home.alvh("check-addresses")
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert re.search(r"(\d\d) of \1 answer", ended.out)
    document = home.alvh("check-addresses", "--json").document
    assert document["healthy"] is True
    assert {item["role"] for item in document["addresses"]} >= {"feed", "token", "uniswap_v3_pool"}
    ended = home.alvh("doctor")
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    home.change(r"(?<=v3_tick_lens = )'0x\w{40}'", f"'{ACCOUNT}'")
    ended = home.alvh("doctor", "--json")
    assert ended.code == 1
    assert ended.document["healthy"] is False
    ended = home.alvh("check-addresses")
    assert ended.code == 1
    assert f"managers.v3_tick_lens {ACCOUNT}" in ended.out.replace("\n", " ")
    home.alvh("check-addresses", "--chain", "7").refused(4, "chain 7 is not configured", "31337")
    home.alvh("check-addresses", "--known").refused(2, "no deployment on chain 31337")
    assert home.alvh("doctor", "--config", "nowhere.toml").code == 1
