"""Selectors and topics of Opyn and Hegic: ours, and those of their reference contracts (venues.md, A)."""

from pathlib import Path

import pytest

from bot.chain.abi import Abi
from bot.devnet.artifacts import own_artifact

# Facts: computed from the ABI of the compiled protocols.
SELECTORS = {
    ("GammaController", "getPayout"): "565eea19",
    ("GammaController", "getProceed"): "c220101d",
    ("GammaController", "getVaultWithDetails"): "9daafbe8",
    ("GammaController", "hasExpired"): "f77bc88b",
    ("GammaController", "isSettlementAllowed"): "e723406c",
    ("GammaController", "operate"): "b617f0c6",
    ("GammaOtokenFactory", "createOtoken"): "c0974630",
    ("GammaOtokenFactory", "getOtoken"): "11547054",
    ("GammaOtokenFactory", "getOtokensLength"): "46e63dc4",
    ("GammaOtokenFactory", "otokens"): "de0120de",
    ("GammaOtoken", "expiryTimestamp"): "ade6e2aa",
    ("GammaOtoken", "getOtokenDetails"): "af0968fc",
    ("GammaOtoken", "isPut"): "f3c274a6",
    ("GammaOtoken", "strikePrice"): "c52987cf",
    ("GammaOracle", "getExpiryPrice"): "01957f81",
    ("GammaOracle", "getPrice"): "41976e09",
    ("GammaOracle", "isDisputePeriodOver"): "5fdc7149",
    ("GammaOracle", "isLockingPeriodOver"): "d2f3b4e8",
    ("HegicOperationalTreasury", "buy"): "0e5024d7",
    ("HegicOperationalTreasury", "lockedLiquidity"): "3755269b",
    ("HegicOperationalTreasury", "payOff"): "914fb518",
    ("HegicOperationalTreasury", "unlock"): "6198e339",
    ("HegicStrategy", "calculateNegativepnlAndPositivepnl"): "d666b433",
    ("HegicStrategy", "getAvailableContracts"): "847340f8",
    ("HegicStrategy", "isPayoffAvailable"): "4037a656",
    ("HegicStrategy", "payOffAmount"): "72e08c41",
    ("HegicStrategy", "positionExpiration"): "90e4144e",
    ("HegicStrategy", "strategyData"): "d6c8d1b4",
}
TOPICS = {
    ("GammaController", "Redeem"): "0x18fd144d7dbcbaa6f00fd47a84adc7dc3cc64a326ffa2dc7691a25e3837dba03",
    ("GammaController", "VaultSettled"): "0x522cda7dd0677ee4c9512efd8aa92af93de64b4c2fe2f8bfe7a9234a655a9bf5",
    ("GammaOtokenFactory", "OtokenCreated"): (
        "0xedf283b0b3396dd34e23a917cb887ad557f18a593be3a2e9c069fd59f19a811a"
    ),
    ("GammaOracle", "ExpiryPriceUpdated"): (
        "0x0160752083b78189f1650efb0abdaa0dd2110e5782f553c825705746ac2a5718"
    ),
    ("HegicOperationalTreasury", "Expired"): (
        "0xf80dbaea4785589e52984ca36a31de106adc77759539a5c7d92883bf49692fe9"
    ),
    ("HegicOperationalTreasury", "Paid"): (
        "0x4f2d18324ee95128de091ed2adc501295479000ce4c2cec607aeb1b67e189e2f"
    ),
    ("HegicStrategy", "Acquired"): "0xe6ba045508353d28ffe727d7e1d54c14bb77665dd60636928b88674a9c7b4260",
}
# Ours -> the reference contract that answers to it.
REFERENCES = {
    "GammaAddressBook": "OpynGammaAddressBook",
    "GammaChainlinkPricer": "OpynGammaChainlinkPricer",
    "GammaController": "OpynGammaController",
    "GammaOracle": "OpynGammaOracle",
    "GammaOtoken": "OpynGammaOtoken",
    "GammaOtokenFactory": "OpynGammaOtokenFactory",
    "GammaWhitelist": "OpynGammaWhitelist",
    "HegicCoverPool": "HegicHergeCoverPool",
    "HegicOperationalTreasury": "HegicHergeOperationalTreasury",
    "HegicPositionsManager": "HegicHergePositionsManager",
    "HegicPriceCalculator": "HegicHergePriceCalculator",
    "HegicStrategy": "HegicHergeStrategy",
}


def reference(contract: str) -> Abi:
    return own_artifact(f"reference/{REFERENCES[contract]}").abi


@pytest.mark.parametrize(("contract", "function"), SELECTORS)
def test_selectors_are_the_protocols(contract: str, function: str) -> None:
    for abi in (Abi.load(contract), reference(contract)):
        assert abi.function(function).selector.hex() == SELECTORS[contract, function]


@pytest.mark.parametrize(("contract", "event"), TOPICS)
def test_topics_are_the_protocols(contract: str, event: str) -> None:
    for abi in (Abi.load(contract), reference(contract)):
        assert abi.topic(event) == TOPICS[contract, event]


@pytest.mark.parametrize("contract", REFERENCES)
def test_the_reference_answers_to_all_of_the_abi_that_the_bot_has(contract: str) -> None:
    ours, theirs = Abi.load(contract), reference(contract)
    for name, functions in ours._functions.items():
        assert {item.selector for item in functions} <= {item.selector for item in theirs._functions[name]}
    for name, events in ours._events.items():
        for event, same in zip(events, theirs._events[name], strict=True):
            assert event.topic == same.topic
            assert [field[1:] for field in event.fields] == [field[1:] for field in same.fields]


@pytest.mark.parametrize(
    ("pattern", "protocol", "count"), [("OpynGamma*.vy", "Opyn", 8), ("HegicHerge*.vy", "Hegic", 6)]
)
def test_every_reference_says_what_it_is(pattern: str, protocol: str, count: int) -> None:
    folder = Path(own_artifact.__code__.co_filename).with_name("contracts") / "reference"
    sources = sorted(folder.glob(pattern))
    assert len(sources) == count
    for source in sources:
        first = source.read_text(encoding="utf-8").partition("\n")[0]
        subset = "# Reference, not the protocol: implements the documented ABI subset of "
        assert first.startswith(subset + protocol)
        assert first.endswith("with honest minimal economics.")
