"""``[networks.NAME]``: sections of a configuration that hold on one network only, chosen by ``--network``.

A network is named as the files of bot/deployments are ("sepolia"), or by its chain id. Its sections stand in
place of those of the same name at the top; of ``chain`` only the keys it names do.
"""

from collections.abc import Mapping
from typing import Any

from bot.deployments import network_id
from bot.errors import ConfigError

VARIABLE = "ALVH_NETWORK"  # so that a process that this one starts reads the same sections


def for_network(table: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Return the configuration of a network; without a name what stands at the top.

    Raises ConfigError for an unknown network, and where the file is of another chain.
    """
    networks = table.get("networks", {})
    if not isinstance(networks, Mapping) or not all(isinstance(item, Mapping) for item in networks.values()):
        raise ConfigError("networks must hold tables, as in [networks.sepolia.chain]")
    ids = {key: network_id(str(key)) for key in networks}
    found = {key: value for key, value in table.items() if key != "networks"}
    if name is None:
        return found
    chain_id = network_id(name)
    for key, own in networks.items():
        if ids[key] == chain_id:
            found |= own | {"chain": _section(found.get("chain")) | _section(own.get("chain"))}
    return found | {"chain": _with_id(_section(found.get("chain")), chain_id, name)}


def _section(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _with_id(chain: dict[str, Any], chain_id: int, name: str) -> dict[str, Any]:
    if chain.setdefault("id", chain_id) != chain_id:
        raise ConfigError(
            f"chain.id is {chain['id']}, --network {name} is {chain_id}; name another network or file, or "
            f"put what holds there under [networks.{name}]"
        )
    return chain
