"""The Nexus Mutual reference: the ABI of npm @nexusmutual/deployments 3.4.0, venues.md 3.7 as tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.chain.abi import Abi
from bot.chain.rpc import RevertError, Rpc
from bot.devnet.artifacts import own_artifact
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_nexus import (
    COOL_DOWN_S,
    DAY_S,
    ETH_ASSET,
    GRACE_S,
    NXM_USDC_RAW,
    REDEMPTION_S,
    USDC_ASSET,
    VOTING_S,
    NexusDeployment,
    deploy_nexus,
)
from bot.devnet.node import Devnet
from bot.devnet.packages import fetch

NOBODY = "0x" + "00" * 20
USD = 10**6
AMOUNT = 100_000 * USD
DEPOSIT_WEI = 5 * 10**16

CONTRACTS = {
    "NexusCover": "NexusMutualCover",
    "NexusCoverBroker": "NexusMutualCoverBroker",
    "NexusCoverNFT": "NexusMutualCoverNFT",
    "NexusCoverProducts": "NexusMutualCoverProducts",
    "NexusClaims": "NexusMutualClaims",
    "NexusStakingViewer": "NexusMutualStakingViewer",
    "NexusStakingPool": "NexusMutualStakingPool",
    "NexusPool": "NexusMutualPool",
    "NexusRegistry": "NexusMutualRegistry",
}
SELECTORS = {  # computed from the package's ABI
    ("NexusCover", "buyCover"): "7c59cac4",
    ("NexusCover", "getCoverData"): "00407d2a",
    ("NexusCoverBroker", "buyCover"): "7c59cac4",
    ("NexusCoverNFT", "ownerOf"): "6352211e",
    ("NexusCoverProducts", "getProductWithType"): "b6c700c0",
    ("NexusClaims", "submitClaim"): "a3d618fe",
    ("NexusClaims", "redeemClaimPayout"): "72c3c31e",
    ("NexusClaims", "CLAIM_DEPOSIT_IN_ETH"): "8fc8ea48",
    ("NexusClaims", "getClaimDetails"): "bac71e00",
    ("NexusStakingPool", "getTrancheCapacities"): "9e43661f",
    ("NexusStakingPool", "getActiveAllocations"): "8c3110fe",
    ("NexusStakingViewer", "stakingPool"): "21b0b0cb",
    ("NexusStakingViewer", "getProductPools"): "00f41b27",
    ("NexusStakingViewer", "getPoolProducts"): "e4e0ba00",
    ("NexusPool", "getAssets"): "67e4ac2c",
}
TOPICS = {
    ("NexusCover", "CoverBought"): "e2b69afa632923dbb71755db531ac4d82b79662feb2c342c55d80c644a97003f",
    ("NexusClaims", "ClaimSubmitted"): "199cf6ad2e6ce4f20f4f77bf95042862858fe7b5fb2240b17ec190107e6b41e8",
    (
        "NexusClaims",
        "ClaimPayoutRedeemed",
    ): "2646ef0fdbfdc9fe1b2e036b0f9fbca0c5212fbc156322fe666ec8fb8a9529c1",
}


@pytest.mark.parametrize(("key", "selector"), SELECTORS.items(), ids=str)
def test_selectors_are_the_protocols(key: tuple[str, str], selector: str) -> None:
    assert Abi.load(key[0]).function(key[1]).selector.hex() == selector


@pytest.mark.parametrize(("key", "topic"), TOPICS.items(), ids=str)
def test_topics_are_the_protocols(key: tuple[str, str], topic: str) -> None:
    assert Abi.load(key[0]).topic(key[1]) == "0x" + topic


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_reference_answers_to_the_same_abi(name: str) -> None:
    """Every function and event that the bot uses: same selector, same outputs, same indexed fields."""
    real, ours = Abi.load(name), own_artifact(f"reference/{CONTRACTS[name]}").abi
    for function in (item for items in real._functions.values() for item in items):
        assert ours.function(function.signature).outputs == function.outputs, function.signature
    for event in (item for items in real._events.values() for item in items):
        found = ours.event(event.signature)
        assert [field[1:] for field in found.fields] == [field[1:] for field in event.fields]


@dataclass
class Buyer:
    """A user who is no member until admitted, and pays in USDC."""

    at: NexusDeployment
    bench: Bench
    me: str
    usdc: Contract

    def order(self, **changes: Any) -> tuple[Any, ...]:
        """BuyCoverParams of 100,000 USDC over Aave for 30 days."""
        fields = {
            "coverId": 0,
            "owner": self.me,
            "productId": 0,
            "coverAsset": USDC_ASSET,
            "amount": AMOUNT,
            "period": 30 * DAY_S,
            "maxPremiumInAsset": 300 * USD,
            "paymentAsset": USDC_ASSET,
            "commissionRatio": 0,
            "commissionDestination": NOBODY,
            "ipfsData": "",
        }
        return tuple({**fields, **changes}.values())

    async def buy(self, *, via: Contract | None = None, pool: int = 1, **changes: Any) -> int:
        target = via or self.at.broker
        order = self.order(**changes)
        await self.usdc.send("approve", target.address, order[6], sender=self.me)
        await target.send("buyCover", order, [(pool, order[4])], sender=self.me)
        return int(await self.at.nft.call("totalSupply"))

    async def reason(
        self, contract: Contract, *call: Any, value_wei: int = 0, sender: str | None = None
    ) -> str:
        data = "0x" + contract.artifact.abi.encode(*call).hex()
        sent = {"from": sender or self.me, "to": contract.address, "data": data, "value": hex(value_wei)}
        with pytest.raises(RevertError) as caught:
            await self.bench.rpc.read("eth_call", [sent, "latest"])
        return caught.value.reason

    async def refused(self, **changes: Any) -> str:
        order = self.order(**changes)
        await self.usdc.send("approve", self.at.broker.address, order[6], sender=self.me)
        return await self.reason(self.at.broker, "buyCover", order, [(1, order[4])])

    async def warp(self, seconds: int) -> None:
        await self.bench.set_time(await self.bench.now_s() + seconds)


@pytest.fixture
def bench(devnet: Devnet, rpc: Rpc, cache_dir: Path) -> Bench:
    return Bench(rpc, fetch(cache_dir), devnet.deployment.accounts)


@pytest.fixture
async def buyer(devnet: Devnet, bench: Bench) -> Buyer:
    at = await deploy_nexus(bench, usdc=devnet.deployment.usdc)
    usdc = bench.at("TestERC20SetDecimals", devnet.deployment.usdc)
    return Buyer(at, bench, devnet.deployment.user, usdc)


@pytest.mark.devnet
async def test_a_cover_is_bought_through_the_broker_and_what_is_over_comes_back(buyer: Buyer) -> None:
    """2.5 % a year of 100,000 USDC for 30 days: 205.48 USDC; of the cap the rest is given back."""
    before = await buyer.usdc.call("balanceOf", buyer.me)
    cover_id = await buyer.buy()
    paid = before - await buyer.usdc.call("balanceOf", buyer.me)
    assert paid == pytest.approx(AMOUNT * 0.025 * 30 / 365, rel=1e-4)
    assert (await buyer.at.nft.call("ownerOf", cover_id)).lower() == buyer.me.lower()
    product, asset, amount, start, period, grace, *_ = await buyer.at.cover.call("getCoverData", cover_id)
    assert (product, asset, period, grace) == (0, USDC_ASSET, 30 * DAY_S, GRACE_S)
    assert AMOUNT <= amount < AMOUNT + NXM_USDC_RAW / 100 + 1  # rounded up to 0.01 NXM
    assert start == await buyer.bench.now_s()
    assert await buyer.usdc.call("balanceOf", buyer.at.broker.address) == 0


@pytest.mark.devnet
async def test_a_member_buys_directly_and_pays_in_eth_too(buyer: Buyer) -> None:
    order = buyer.order(coverAsset=ETH_ASSET, paymentAsset=ETH_ASSET, amount=10**19, maxPremiumInAsset=10**17)
    call = ("buyCover", order, [(1, 10**19)])
    assert await buyer.reason(buyer.at.cover, *call, value_wei=10**17) == "OnlyMember()"
    await buyer.at.registry.send("admit", buyer.me)
    due = 10**19 * 250 // 10_000 * 30 // 365
    assert await buyer.reason(buyer.at.cover, *call, value_wei=due // 2) == "InsufficientEthSent()"
    mutual = await buyer.bench.rpc.request("eth_getBalance", [buyer.at.pool.address, "latest"])
    await buyer.at.cover.send(*call, sender=buyer.me, value_wei=10**17)
    got = int(await buyer.bench.rpc.request("eth_getBalance", [buyer.at.pool.address, "latest"]), 16) - int(
        mutual, 16
    )
    assert got == pytest.approx(due, rel=1e-9)  # what was over came back
    usdc_order = buyer.order()
    await buyer.usdc.send("approve", buyer.at.cover.address, 300 * USD, sender=buyer.me)
    refused = await buyer.reason(buyer.at.cover, "buyCover", usdc_order, [(1, AMOUNT)], value_wei=1)
    assert refused == "UnexpectedEthSent()"


@pytest.mark.devnet
async def test_what_is_refused_by_name(buyer: Buyer) -> None:
    assert await buyer.refused(period=28 * DAY_S - 1) == "CoverPeriodTooShort()"
    assert await buyer.refused(period=365 * DAY_S + 1) == "CoverPeriodTooLong()"
    assert await buyer.refused(maxPremiumInAsset=200 * USD) == "PriceExceedsMaxPremiumInAsset()"
    assert await buyer.refused(amount=0) == "CoverAmountIsZero()"
    assert await buyer.refused(productId=9) == "ProductNotFound()"
    assert await buyer.refused(paymentAsset=255) == "InvalidPaymentAsset()"
    assert await buyer.refused(commissionRatio=3001) == "CommissionRateTooHigh()"
    assert await buyer.refused(owner=NOBODY) == "InvalidOwnerAddress()"
    assert await buyer.refused(coverAsset=1) == "InvalidPaymentAsset()"
    short = buyer.order(amount=AMOUNT)
    assert (
        await buyer.reason(buyer.at.broker, "buyCover", short, [(1, AMOUNT // 2)])
        == "InsufficientCoverAmountAllocated()"
    )
    await buyer.at.products.send("setDeprecated", 0, True)
    assert await buyer.refused() == "ProductDeprecated()"
    await buyer.at.cover.send("setPaused", True)
    assert (await buyer.refused(productId=1)).startswith("Paused(")


@pytest.mark.devnet
async def test_periods_at_both_ends_are_sold(buyer: Buyer) -> None:
    await buyer.buy(period=28 * DAY_S)
    await buyer.buy(period=365 * DAY_S, maxPremiumInAsset=3_001 * USD, productId=1)
    assert await buyer.at.nft.call("balanceOf", buyer.me) == 2


@pytest.mark.devnet
async def test_a_purchase_raises_the_price_and_it_falls_back(buyer: Buyer) -> None:
    """5 % of the share of the capacity taken; two points a day back."""
    capacity = 40_000 * 2 // 2 * NXM_USDC_RAW
    await buyer.buy(amount=capacity // 2, maxPremiumInAsset=2_000 * USD)
    (found,) = [item for item in await buyer.at.staking.call("getPoolProducts", 1) if item[0] == 0]
    assert found[4] == pytest.approx(250 + 500 // 2, abs=1)
    dear = await buyer.refused(maxPremiumInAsset=300 * USD)
    assert dear == "PriceExceedsMaxPremiumInAsset()"
    await buyer.warp(2 * DAY_S)
    await buyer.buy()
    assert await buyer.refused(amount=capacity, maxPremiumInAsset=50_000 * USD) == "InsufficientCapacity()"
    pools = await buyer.at.staking.call("getProductPools", 0)
    assert [item[0] for item in pools] == [1, 2]


@pytest.mark.devnet
async def test_capacity_comes_back_when_a_cover_has_ended(buyer: Buyer) -> None:
    cover_id = await buyer.buy()
    taken = await buyer.at.staking.call("allocated", 1, 0)
    assert taken == pytest.approx(AMOUNT / NXM_USDC_RAW * 10**18, rel=1e-3)
    assert "CoverNotYetExpired" in await buyer.reason(buyer.at.cover, "expireCover", cover_id)
    await buyer.warp(30 * DAY_S)
    await buyer.at.cover.send("expireCover", cover_id)
    assert await buyer.at.staking.call("allocated", 1, 0) == 0


@pytest.mark.devnet
async def test_a_claim_is_assessed_and_paid(buyer: Buyer) -> None:
    at = buyer.at
    cover_id = await buyer.buy()
    claim = ("submitClaim", cover_id, AMOUNT, b"\x01" * 32)
    assert await buyer.reason(at.claims, *claim, value_wei=DEPOSIT_WEI) == "OnlyMember()"
    await at.registry.send("admit", buyer.me)
    assert await buyer.reason(at.claims, *claim) == "AssessmentDepositNotExact()"
    too_much = ("submitClaim", cover_id, 2 * AMOUNT, b"\0" * 32)
    assert await buyer.reason(at.claims, *too_much, value_wei=DEPOSIT_WEI) == "CoveredAmountExceeded()"
    await at.claims.send(*claim, sender=buyer.me, value_wei=DEPOSIT_WEI)
    assert await buyer.reason(at.claims, *claim, value_wei=DEPOSIT_WEI) == "ClaimIsBeingAssessed()"
    await at.claims.send("assess", 1, True)
    assert await buyer.reason(at.claims, "redeemClaimPayout", 1) == "ClaimNotRedeemable()"
    await buyer.warp(VOTING_S + COOL_DOWN_S + 1)
    assert await buyer.reason(at.claims, *claim, value_wei=DEPOSIT_WEI) == "PayoutCanStillBeRedeemed()"
    before = await buyer.usdc.call("balanceOf", buyer.me)
    await at.claims.send("redeemClaimPayout", 1, sender=buyer.me)
    assert await buyer.usdc.call("balanceOf", buyer.me) == before + AMOUNT
    assert (await at.cover.call("getCoverData", cover_id))[2] < NXM_USDC_RAW
    assert await buyer.reason(at.claims, "redeemClaimPayout", 1) == "ClaimNotRedeemable()"


@pytest.mark.devnet
async def test_a_claim_that_is_denied_or_forgotten_pays_nothing(buyer: Buyer) -> None:
    at = buyer.at
    await at.registry.send("admit", buyer.me)
    cover_id = await buyer.buy()
    claim = ("submitClaim", cover_id, AMOUNT, b"\0" * 32)
    await at.claims.send(*claim, sender=buyer.me, value_wei=DEPOSIT_WEI)
    await buyer.warp(VOTING_S + COOL_DOWN_S + 1)
    assert await buyer.reason(at.claims, "redeemClaimPayout", 1) == "ClaimNotRedeemable()"
    await at.claims.send(*claim, sender=buyer.me, value_wei=DEPOSIT_WEI)
    await at.claims.send("assess", 2, True)
    await buyer.warp(VOTING_S + COOL_DOWN_S + REDEMPTION_S)
    assert await buyer.reason(at.claims, "redeemClaimPayout", 2) == "ClaimNotRedeemable()"


@pytest.mark.devnet
async def test_a_claim_in_the_block_of_the_purchase_is_refused(buyer: Buyer) -> None:
    """Purchase and claim in one block: the claim fails. A block later it goes through."""
    at, rpc = buyer.at, buyer.bench.rpc
    await at.registry.send("admit", buyer.me)
    await buyer.usdc.send("approve", at.broker.address, 300 * USD, sender=buyer.me)
    await rpc.request("evm_setAutomine", [False])
    try:
        hashes = []
        for contract, data, value in (
            (at.broker, at.broker.artifact.abi.encode("buyCover", buyer.order(), [(1, AMOUNT)]), 0),
            (at.claims, at.claims.artifact.abi.encode("submitClaim", 1, AMOUNT, b"\0" * 32), DEPOSIT_WEI),
        ):
            sent = {
                "from": buyer.me, "to": contract.address, "data": "0x" + data.hex(),
                "gas": hex(2_000_000), "value": hex(value),
            }  # fmt: skip
            hashes.append(await rpc.request("eth_sendTransaction", [sent], send=True))
        await rpc.request("evm_mine", [])
        receipts = [await rpc.request("eth_getTransactionReceipt", [item]) for item in hashes]
    finally:
        await rpc.request("evm_setAutomine", [True])
    assert receipts[0]["blockNumber"] == receipts[1]["blockNumber"]
    assert [item["status"] for item in receipts] == ["0x1", "0x0"]
    await at.claims.send("submitClaim", 1, AMOUNT, b"\0" * 32, sender=buyer.me, value_wei=DEPOSIT_WEI)


@pytest.mark.devnet
async def test_a_claim_can_be_made_until_the_grace_period_is_over(buyer: Buyer) -> None:
    at = buyer.at
    await at.registry.send("admit", buyer.me)
    cover_id = await buyer.buy()
    claim = ("submitClaim", cover_id, AMOUNT, b"\0" * 32)
    await buyer.warp(30 * DAY_S + GRACE_S - 60)
    await at.claims.send(*claim, sender=buyer.me, value_wei=DEPOSIT_WEI)
    other = await buyer.buy()
    await buyer.warp(30 * DAY_S + GRACE_S)
    late = ("submitClaim", other, AMOUNT, b"\0" * 32)
    assert await buyer.reason(at.claims, *late, value_wei=DEPOSIT_WEI) == "GracePeriodPassed()"


@pytest.mark.devnet
async def test_a_claim_is_the_owners(buyer: Buyer) -> None:
    cover_id = await buyer.buy()
    stranger = buyer.bench.accounts[6]
    await buyer.at.registry.send("admit", stranger)
    claim = ("submitClaim", cover_id, AMOUNT, b"\0" * 32)
    refused = await buyer.reason(buyer.at.claims, *claim, value_wei=DEPOSIT_WEI, sender=stranger)
    assert refused == "NotCoverOwner()"
    await buyer.at.nft.send("transferFrom", buyer.me, stranger, cover_id, sender=buyer.me)
    await buyer.at.claims.send(*claim, sender=stranger, value_wei=DEPOSIT_WEI)
