"""Known deployments: addresses of public contracts, with where each was found and when.

One file per chain. A configured address may be written ``"@name"``; ``alvh check-addresses --known`` asks a
node what answers at each. Nothing here is used unless a configuration or a command names it.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from bot.chain.address import Address
from bot.errors import ConfigError, InvariantError


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One deployed contract."""

    name: str  # "uniswap_v3.factory", what follows the @ in a configuration
    kind: str  # what it is, which view call it must answer
    address: Address
    source: str  # where the address was found
    date: str  # of the source, or of the look-up in it, year-month
    checked: Literal["source", "memory"]  # memory: from general knowledge; check before money rests on it
    symbol: str = ""  # of a token
    decimals: int | None = None  # of a token or a feed
    heartbeat_s: int | None = None  # of a feed
    heartbeat_checked: Literal["source", "memory"] = "source"  # source: a list of the oracle's publisher

    @property
    def unconfirmed(self) -> str:
        """What of it is from memory, in words; empty when all of it was read in a source."""
        if self.checked == "memory":
            return "address from memory" + (", as its heartbeat is" if self._is_guessed else "")
        return f"heartbeat of {self.heartbeat_s:,} s from memory" if self._is_guessed else ""

    @property
    def _is_guessed(self) -> bool:
        return self.heartbeat_s is not None and self.heartbeat_checked == "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployments:
    """What is known on one chain."""

    chain_id: int
    chain: str  # "Arbitrum One"
    contracts: Mapping[str, Contract]  # by name

    def find(self, name: str) -> Contract:
        """Return a contract by its name, with or without the @. Raises ConfigError with names like it."""
        found = self.contracts.get(name.removeprefix("@"))
        if found is not None:
            return found
        like = difflib.get_close_matches(name.removeprefix("@"), self.contracts, n=3, cutoff=0.4)
        words = f"near it are {', '.join('@' + item for item in like)}" if like else "nothing is near it"
        raise ConfigError(
            f"{name} is no known deployment on chain {self.chain_id} ({self.chain}); {words}; "
            "alvh check-addresses --known lists all"
        )

    def address(self, name: str) -> str:
        return self.find(name).address


def known(chain_id: int) -> Deployments:
    """Return what is known on a chain; on a chain without a file, nothing."""
    return _all().get(chain_id) or Deployments(chain_id=chain_id, chain=f"chain {chain_id}", contracts={})


def network_id(name: str) -> int:
    """Return the chain id of a network: its file's name ("base-sepolia"), or an id as it stands.

    Raises ConfigError with the names there are.
    """
    if name.isascii() and name.isdigit() and int(name) > 0:
        return int(name)
    networks = known_networks()
    if name in networks:
        return networks[name]
    like = difflib.get_close_matches(name, networks, n=3, cutoff=0.5)
    words = f"did you mean {' or '.join(like)}" if like else f"there are {', '.join(networks)}"
    raise ConfigError(f"network {name!r} is not known; {words}, or give the chain id")


def known_networks() -> dict[str, int]:
    """Return the chain id of every network that has a file, by name."""
    return {file.removesuffix(".toml"): item.chain_id for file, item in sorted(_files().items())}


def known_chains() -> tuple[int, ...]:
    """Return the ids of the chains that have a file."""
    return tuple(sorted(_all()))


@cache
def _all() -> dict[int, Deployments]:
    return {item.chain_id: item for item in _files().values()}


@cache
def _files() -> dict[str, Deployments]:
    files = (item for item in resources.files("bot.deployments").iterdir() if item.name.endswith(".toml"))
    return {item.name: _parse(item.name, tomllib.loads(item.read_text("utf-8"))) for item in files}


def _parse(file: str, table: Mapping[str, Any]) -> Deployments:
    try:
        contracts = _CONTRACTS.validate_python(table["contracts"])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InvariantError(f"deployments/{file}: {problem['loc']}: {problem['msg']}") from None
    by_name = {item.name: item for item in contracts}
    if len(by_name) != len(contracts):
        raise InvariantError(f"deployments/{file}: a name stands there twice")
    return Deployments(chain_id=table["chain_id"], chain=table["chain"], contracts=by_name)


_CONTRACTS = TypeAdapter(tuple[Contract, ...])
