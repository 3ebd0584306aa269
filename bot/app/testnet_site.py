"""Where a test deployment is worked on: a folder, a chain, a node of it, and the deployer's key."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eth_utils.address import is_address, to_checksum_address

from bot.app.live import TEST_CHAINS
from bot.chain.abi import Abi
from bot.chain.fees import GWEI, FeePolicy
from bot.chain.rpc import Node, Rpc, hex_bytes, quantity
from bot.chain.signing.keystore import MIN_SCRYPT_N, open_keystore, read_password_file, write_keystore
from bot.deployments import known
from bot.devnet.deploy_bench import Bench
from bot.devnet.packages import fetch
from bot.devnet.testnet import TestnetDeployment
from bot.devnet.testnet_key import DeployKey
from bot.devnet.testnet_log import Begin, DeployLog, Ended, Signed
from bot.devnet.testnet_sender import Pace, Sender
from bot.devnet.testnet_view import DeployView
from bot.errors import ConfigError, StaleDataError
from bot.model.parsing import json_of
from bot.settings import cache_dir, password_of_environment

STATE, UPKEEP, DEPLOYMENT, CONFIG, BOT_KEYSTORE = (
    "deploy-log.jsonl",
    "upkeep-log.jsonl",
    "deployment.json",
    "alvh.toml",
    "bot-keystore.json",
)

OnEnded = Callable[[Signed, Ended], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where: a folder on this machine, a chain, a node of it, and who pays."""

    folder: Path
    chain_id: int
    rpc_url: str = field(repr=False)
    keystore: Path
    password: str = field(repr=False)
    password_file: Path | None = None
    max_fee_gwei: float = 50.0
    pace: Pace = field(default_factory=Pace)
    accept_nonce: int = 0
    allow_plain_http: bool = False
    min_scrypt_n: int = MIN_SCRYPT_N

    @property
    def fees(self) -> FeePolicy:
        return FeePolicy(max_fee_cap_wei=int(self.max_fee_gwei * GWEI))


def network_name(chain_id: int) -> str:
    """Return the name of a test chain. Raises ConfigError for every other: an allow list."""
    if chain_id not in TEST_CHAINS:
        there = ", ".join(f"{number} {name}" for number, name in sorted(TEST_CHAINS.items()))
        raise ConfigError(
            f"chain {chain_id} is not a test chain, and contracts are deployed only on those: {there}"
        )
    return TEST_CHAINS[chain_id]


@asynccontextmanager
async def open_node(site: Site) -> AsyncIterator[Node]:
    """Connect to the node; nothing is asked of it yet."""
    async with Rpc(site.rpc_url, timeout_s=30.0, allow_plain_http=site.allow_plain_http) as node:
        yield node


def open_key(site: Site) -> DeployKey:
    """Open the deployer's keystore for its one chain. Blocks for about a second. Raises ConfigError."""
    network_name(site.chain_id)
    key = open_keystore(
        site.keystore,
        site.password,
        address=address_in(site.keystore),
        min_scrypt_n=site.min_scrypt_n,
    )
    return DeployKey(key, chain_ids=frozenset({site.chain_id}))


def address_in(keystore: Path) -> str:
    """Return the address that a keystore file names; it is public. Raises ConfigError."""
    try:
        found = json_of(keystore.read_text(encoding="utf-8"))["address"]
    except OSError as error:
        raise ConfigError(f"keystore {keystore} cannot be opened: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str) or not is_address(found):
        raise ConfigError(f"keystore {keystore} is no keystore of version 3 that names its address")
    return str(to_checksum_address(found))


def new_account(keystore: Path, password: str) -> str:
    """Write a new key, encrypted, and return its address. Blocks for about a second. Raises ConfigError."""
    if not password:
        raise ConfigError(f"the password of the new keystore {keystore} is empty; choose one")
    return write_keystore(keystore, secrets.token_bytes(32), password)


def known_password(password_file: Path | None) -> str | None:
    """Return the keystore's password from the environment or a private file; None when neither has it."""
    if (found := password_of_environment()) is not None:
        return found.get_secret_value()
    return read_password_file(password_file) if password_file is not None else None


def sender_of(site: Site, node: Node, key: DeployKey, log: DeployLog, *, on_step: OnEnded) -> Sender:
    """Return what sends, with the pace and the cap of the site."""
    return Sender(
        node,
        key,
        log,
        chain_id=site.chain_id,
        fees=site.fees,
        pace=site.pace,
        accept_nonce=site.accept_nonce,
        on_step=on_step,
    )


async def bench_of(node: Node, key: DeployKey, sender: Sender) -> Bench:
    """Return the bench that writes through a sender; the contracts are fetched once."""
    library = await asyncio.to_thread(fetch, cache_dir())
    return Bench(node, library, (key.address,), writer=sender)


async def feed_price_usd(node: Node, chain_id: int) -> float:
    """Return ETH/USD of the chain's own Chainlink feed.

    Raises ConfigError where none is known, StaleDataError when its answer is older than two heartbeats.
    """
    feed = known(chain_id).contracts.get("chainlink.ETH/USD")
    if feed is None:
        raise ConfigError(f"no ETH/USD feed is known on chain {chain_id}: give the price in USD")
    abi = Abi.load("AggregatorV3Interface")
    call = {"to": feed.address, "data": "0x" + abi.encode("latestRoundData").hex()}
    answer = hex_bytes(await node.read("eth_call", [call, "latest"]))
    if not answer:
        raise ConfigError(f"the ETH/USD feed {feed.address} does not answer on this chain: give the price")
    _, price, _, updated_at_s, _ = abi.decode("latestRoundData", answer)
    head = await node.read("eth_getBlockByNumber", ["latest", False])
    age_s, limit_s = quantity(head["timestamp"]) - updated_at_s, 2 * (feed.heartbeat_s or 3_600)
    if age_s > limit_s:
        raise StaleDataError(
            f"the chain's ETH/USD feed is {age_s:,} s old, at most {limit_s:,} s are allowed: give the price"
        )
    return float(price / 10 ** (feed.decimals or 8))


async def balance_of(node: Node, token: str, holder: str) -> int:
    """Return the holder's tokens, smallest units; 0 where nothing answers."""
    data = "0x" + Abi.load("ERC20").encode("balanceOf", holder).hex()
    answer = hex_bytes(await node.read("eth_call", [{"to": token, "data": data}, "latest"]))
    return int.from_bytes(answer[:32], "big")


@asynccontextmanager
async def upkeep_bench(
    site: Site, key: DeployKey, system: TestnetDeployment, *, on_step: OnEnded
) -> AsyncIterator[Bench]:
    """Open the bench of the owner's later transactions, after what an earlier run left open is on the chain.

    Each of these reads the chain before it sends, so only open transactions are kept in its file.
    """
    with DeployLog.open(site.folder / UPKEEP) as log:
        async with open_node(site) as node:
            sender = sender_of(site, node, key, log, on_step=on_step)
            if log.begin is not None:
                await sender.begin_run("earlier")
            view = DeployView(node, key.address)
            begin = Begin(
                chain_id=system.chain_id,
                genesis=system.genesis,
                sender=key.address,
                first_nonce=await view.nonce("latest"),
                inputs={},
            )
            log.restart(begin)
            sender = sender_of(site, node, key, log, on_step=on_step)
            await sender.begin_run("upkeep")
            yield await bench_of(node, key, sender)
