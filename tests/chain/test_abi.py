"""ABIs: selectors against published ones, the packages they come from, events and revert reasons."""

import json
from pathlib import Path

import pytest
from eth_abi.abi import encode

from bot.chain import abi as abi_module
from bot.chain.abi import Abi, decode_or_none, revert_reason
from bot.devnet.node import Devnet
from bot.errors import ConfigError, InvariantError, TransientError
from bot.model.intent import Log

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "contracts_abi").glob("*.json"))
ALICE, BOB = "0x" + "aa" * 20, "0x" + "bb" * 20


def test_there_are_abis() -> None:
    assert len(NAMES) >= 24


@pytest.mark.parametrize("name", NAMES)
def test_every_abi_loads_and_its_selectors_are_its_own(name: str) -> None:
    entries = json.loads((Path(__file__).parents[2] / "contracts_abi" / f"{name}.json").read_text())
    loaded = Abi.load(name)
    assert loaded is Abi.load(name)
    for entry in entries:
        assert entry["type"] in ("function", "event", "error")
    signatures = [item.signature for items in loaded._functions.values() for item in items]
    assert len(signatures) == len(set(signatures)) == sum(entry["type"] == "function" for entry in entries)


@pytest.mark.parametrize(
    ("contract", "function", "selector"),
    [  # as published, see ../shared/chain-data.md 1.1-1.10
        ("Multicall3", "aggregate3", "82ad56cb"),
        ("UniswapV2Pair", "getReserves", "0902f1ac"),
        ("UniswapV3Pool", "slot0", "3850c7bd"),
        ("UniswapV3Pool", "liquidity", "1a686502"),
        ("UniswapV3Pool", "observe", "883bdbfd"),
        ("NonfungiblePositionManager", "positions", "99fbab88"),
        ("AggregatorV3Interface", "latestRoundData", "feaf968c"),
        ("ERC20", "transfer", "a9059cbb"),
    ],
)
def test_published_selectors(contract: str, function: str, selector: str) -> None:
    assert Abi.load(contract).function(function).selector.hex() == selector


def test_published_topic() -> None:
    assert Abi.load("ERC20").topic("Transfer") == (
        "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    )


def test_calldata_and_call() -> None:
    erc20 = Abi.load("ERC20")
    data = erc20.encode("transfer", BOB, 5)
    assert data == bytes.fromhex("a9059cbb") + encode(["address", "uint256"], [BOB, 5])
    assert erc20.decode_input(data) == ("transfer(address,uint256)", {"to": BOB, "value": 5})
    call = erc20.call("balanceOf", ALICE, BOB)
    assert (call.target, call.outputs) == (ALICE, ("uint256",))


def test_tuples_are_flattened() -> None:
    collect = Abi.load("NonfungiblePositionManager").function("collect")
    assert collect.signature == "collect((uint256,address,uint128,uint128))"
    assert collect.outputs == ("uint256", "uint256")


def test_overloads_need_their_full_signature() -> None:
    overloaded = Abi(
        "Two",
        [
            {"type": "function", "name": "f", "inputs": [{"name": "a", "type": kind}], "outputs": []}
            for kind in ("uint256", "address")
        ],
    )
    with pytest.raises(InvariantError, match="names 2 of function of Two"):
        overloaded.encode("f", 1)
    assert overloaded.encode("f(uint256)", 1)[4:] == encode(["uint256"], [1])
    assert overloaded.encode("f(address)", ALICE)[4:] == encode(["address"], [ALICE])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("transfer", (BOB,)),
        ("transfer", (BOB, -1)),
        ("transfer", ("bob", 1)),
        ("nothing", ()),
        ("name", (1,)),
    ],
)
def test_a_call_that_does_not_fit_is_our_mistake(name: str, arguments: tuple) -> None:
    with pytest.raises(InvariantError):
        Abi.load("ERC20").encode(name, *arguments)


def test_unknown_contract_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no ABI named 'Nothing'; known are .*Vault$"):
        Abi.load("Nothing")


def test_missing_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(abi_module, "_FOLDERS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(ConfigError, match="contracts_abi not found"):
        abi_module._folder()


def test_decode_refuses_bytes_that_do_not_fit() -> None:
    erc20 = Abi.load("ERC20")
    assert erc20.decode("balanceOf", encode(["uint256"], [7])) == (7,)
    for data in (b"", b"\0" * 31):
        with pytest.raises(TransientError, match="check the address"):
            erc20.decode("balanceOf", data)
    assert decode_or_none(("bool",), (2).to_bytes(32, "big")) is None
    assert decode_or_none(("string",), encode(["bytes"], [b"\xff\xfe"])) is None
    assert decode_or_none(("uint256[]",), (32).to_bytes(32, "big") + (2**255).to_bytes(32, "big")) is None
    assert decode_or_none((), b"") == ()


def test_logs_are_decoded_by_name_and_address() -> None:
    erc20 = Abi.load("ERC20")
    topics = (erc20.topic("Transfer"), "0x" + ALICE[2:].rjust(64, "0"), "0x" + BOB[2:].rjust(64, "0"))
    log = Log(address=BOB, topics=topics, data=encode(["uint256"], [9]))
    assert erc20.decode_log("Transfer", log) == {"from": ALICE, "to": BOB, "value": 9}
    assert (
        erc20.logs("Transfer", [log, log], address=BOB.upper().replace("0X", "0x"))
        == [{"from": ALICE, "to": BOB, "value": 9}] * 2
    )
    assert erc20.logs("Transfer", [log], address=ALICE) == []
    assert erc20.logs("Approval", [log], address=BOB) == []
    for broken in (
        Log(address=BOB, topics=topics[:2], data=log.data),
        Log(address=BOB, topics=topics, data=b""),
        Log(address=BOB, topics=(), data=log.data),
    ):
        with pytest.raises(InvariantError):
            erc20.decode_log("Transfer", broken)


def test_revert_reasons() -> None:
    pricer = Abi.load("OptionMarketPricer")
    error = next(
        item for item in pricer._errors.values() if item.signature.startswith("TradingCutoffReached")
    )
    data = error.selector + encode(error.inputs, [ALICE, 1, 2, 3])
    text = f"TradingCutoffReached(thrower={ALICE}, tradingCutoff=1, boardExpiry=2, currentTime=3)"
    assert revert_reason(data) == text
    assert revert_reason(b"\x08\xc3\x79\xa0" + encode(["string"], ["STF"])) == "STF"
    assert revert_reason(b"\x4e\x48\x7b\x71" + encode(["uint256"], [0x12])) == "panic 0x12 (division by zero)"
    # As Gamma's ChainLinkPricer says it (RUN): solc 0.6.10 leaves bytes of its memory behind the text.
    text = "ChainLinkPricer: roundId not first after expiry"
    padded = encode(["string"], [text])[:-8] + bytes.fromhex("627313b600000000")
    assert revert_reason(b"\x08\xc3\x79\xa0" + padded) == text
    assert revert_reason(b"") == "reverted without a reason"
    assert revert_reason(b"\x08\xc3\x79\xa0broken") == "unknown error 0x08c379a062726f6b656e"


@pytest.mark.devnet
def test_every_entry_is_in_the_package_it_comes_from(devnet: Devnet, cache_dir: Path) -> None:
    """The devnet runs the bytecode of these packages, so an entry that they lack could never be answered."""
    compared = []
    for name in NAMES:
        artifacts = [path for path in (cache_dir / "packages").rglob(f"{name}.json") if path.is_file()]
        known = [_shapes(json.loads(path.read_text())["abi"]) for path in artifacts]
        if known:
            ours = json.loads((Path(__file__).parents[2] / "contracts_abi" / f"{name}.json").read_text())
            missing = [_shapes(ours) - shapes for shapes in known]
            assert min(missing, key=len) == set(), name
            compared.append(name)
    assert {"UniswapV3Pool", "OptionMarket", "Exchange", "NonfungiblePositionManager"} <= set(compared)


def _shapes(entries: list[dict]) -> set[str]:
    def shape(parameters: list[dict]) -> list:
        return [
            [item["name"], item["type"], item.get("indexed", False), shape(item.get("components", []))]
            for item in parameters
        ]

    return {
        json.dumps([entry["type"], entry["name"], shape(entry["inputs"]), shape(entry.get("outputs", []))])
        for entry in entries
        if entry["type"] in ("function", "event", "error")
    }
