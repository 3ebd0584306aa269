"""Safe 1.4.1 as published: singleton, proxy factory, MultiSendCallOnly, fallback handler, and one Safe."""

from collections.abc import Sequence
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from bot.chain.safe import ZERO
from bot.devnet.deploy_bench import Bench, Contract

SALT_NONCE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeSystem:
    """The contracts that every Safe shares."""

    singleton: Contract
    factory: Contract
    multi_send: Contract  # MultiSendCallOnly
    fallback_handler: Contract


async def deploy_safe_system(bench: Bench, *, l2: bool = False) -> SafeSystem:
    """Deploy what Safes are made from; ``l2`` takes the singleton that also logs every transaction."""
    return SafeSystem(
        singleton=await bench.deploy("SafeL2" if l2 else "Safe"),
        factory=await bench.deploy("SafeProxyFactory"),
        multi_send=await bench.deploy("MultiSendCallOnly"),
        fallback_handler=await bench.deploy("CompatibilityFallbackHandler"),
    )


async def create_safe(
    bench: Bench, system: SafeSystem, *, owners: Sequence[str], threshold: int, salt_nonce: int = SALT_NONCE
) -> Contract:
    """Create a Safe of these owners, ``threshold`` of whom must sign."""
    initializer = system.singleton.artifact.abi.encode(
        "setup", list(owners), threshold, ZERO, b"", system.fallback_handler.address, ZERO, 0, ZERO
    )
    arguments = (system.singleton.address, initializer, salt_nonce)
    proxy = to_checksum_address(await system.factory.call("createProxyWithNonce", *arguments))
    await system.factory.send("createProxyWithNonce", *arguments)
    return Contract(proxy, system.singleton.artifact, bench)
