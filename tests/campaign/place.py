"""Where the campaign may run, and where it keeps what it found."""

import asyncio
import hashlib
import ipaddress
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from bot.chain.rpc import Rpc, quantity
from bot.devnet.deployment import CHAIN_ID
from bot.errors import BotError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".campaign"  # by source; ignored by git
NODE = "ALVH_CAMPAIGN_NODE"
_SOURCES = (
    "bot/**/*.py",
    "bot/**/*.toml",
    "bot/**/*.vy",
    "contracts_abi/*.json",
    "tests/**/*.py",
    "tests/**/*.toml",
    "scripts/campaign*",
    "pyproject.toml",
    "requirements*.lock",
)


class RefusedPlace(Exception):
    """The campaign was pointed at something that is not a devnet on this machine."""


def refuse_public_host(url: str) -> None:
    """Raise RefusedPlace unless a URL's host is this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise RefusedPlace(
            f"the campaign breaks what it is pointed at; asked was {host or 'no host'!r}, allowed is a "
            "devnet on 127.0.0.1 or ::1 alone: start one with `alvh devnet up`, or name no node at all"
        )


def use_node(url: str) -> None:
    """Run on a devnet that is there already. Raises RefusedPlace for anything else."""
    try:
        asyncio.run(refuse_other_chains(url))
    except BotError as error:
        raise RefusedPlace(f"no devnet answers at {urlsplit(url).netloc}: {error}") from None
    os.environ[NODE] = url  # the workers are processes of their own


async def refuse_other_chains(url: str) -> None:
    """Raise RefusedPlace unless a devnet of this program answers at a loopback URL."""
    refuse_public_host(url)
    async with Rpc(url, timeout_s=10.0) as rpc:
        chain_id = quantity(await rpc.read("eth_chainId"))
        client = str(await rpc.read("web3_clientVersion"))
    if chain_id != CHAIN_ID or not client.startswith("anvil/"):
        raise RefusedPlace(
            f"the campaign breaks what it is pointed at; at {urlsplit(url).netloc} answers chain {chain_id} "
            f"({client:.40}), allowed is chain {CHAIN_ID} of anvil alone"
        )


def source_hash() -> str:
    """Return what changes with the program, the campaign and the locked packages."""
    digest = hashlib.sha256()
    paths = {path for pattern in _SOURCES for path in ROOT.glob(pattern) if path.is_file()}
    for path in sorted(path for path in paths if "__pycache__" not in path.parts):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def keep(name: str, figures: dict[str, object]) -> Path:
    """Write the figures of one part, with the source that they are of; whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps({"source": source_hash(), "figures": figures}, indent=2) + "\n", "utf-8")
    scratch.replace(path)
    return path


def kept(name: str) -> dict[str, object] | None:
    """Return the figures of a part that ran over this very source, None where it has not."""
    try:
        found = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found["figures"] if found.get("source") == source_hash() else None
