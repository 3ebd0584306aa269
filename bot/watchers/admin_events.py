"""Admin powers in use (S9): pauses, upgrades, changes of owners and of roles.

A watcher keeps nothing between reads, so events are counted in the trailing ``window_blocks`` of every read,
not since the last one: an event stays in the count until it has left the window. None can be missed while two
reads are less than the window apart; choose it longer than the longest outage that may go unnoticed. For
outages beyond that, state is compared as well: ``expected_owner`` and ``expected_implementation`` (the
EIP-1967 slot) count as one change at every read until the configuration says that the new one is known.

Events are matched by their first topic alone, so it does not matter which parameters a contract indexes.
Those of proxies (EIP-1967, diamonds), OpenZeppelin, Gnosis Safe, Synthetix, Compound v2 and Aave's address
provider are known. A proxy's beacon and its ProxyAdmin are other contracts: name them in ``also``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError, TransientError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import BlockLog, ChainReader
from bot.watchers.rows import BadRead, Rows, need

ADMIN = Abi.load("AdminEvents")
SOURCE = "admin_events"
# keccak256("eip1967.proxy.implementation") - 1
IMPLEMENTATION_SLOT = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
_PAUSES = {"Paused": True, "Pause": True, "Unpaused": False, "Unpause": False}
_EVENTS: dict[Metric, tuple[str, ...]] = {
    Metric.UPGRADED: (
        "Upgraded",
        "BeaconUpgraded",
        "DiamondCut",
        "NewImplementation",
        "PoolUpdated",
        "PoolConfiguratorUpdated",
        "PriceOracleUpdated",
        "PriceOracleSentinelUpdated",
    ),
    Metric.OWNERSHIP_CHANGED: (
        "OwnershipTransferred",
        "OwnershipTransferStarted",
        "OwnerChanged",
        "OwnerNominated",
        "AdminChanged",
        "NewAdmin",
        "NewPendingAdmin",
        "ACLAdminUpdated",
        "ACLManagerUpdated",
        "AddedOwner",
        "RemovedOwner",
        "ChangedThreshold",
    ),
    Metric.ROLE_CHANGED: ("RoleGranted", "RoleRevoked", "RoleAdminChanged"),
}
_METRIC_OF = {ADMIN.topic(name): metric for metric, names in _EVENTS.items() for name in names}
_PAUSED_BY = {ADMIN.topic(name): state for name, state in _PAUSES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEventsWatcher:
    """Watches one contract's admin powers; see the module for what is counted over which blocks.

    ``paused_from``: "call" reads ``paused()``; "events" takes the last Paused or Unpaused since
    ``deployed_block``, for contracts without the view; "nowhere" has no PAUSED series. Where anything that
    was configured does not answer, the contract is another than configured and every series is unknown.
    """

    label: str
    address: Address
    window_blocks: int
    paused_from: Literal["call", "events", "nowhere"] = "call"
    deployed_block: int | None = None
    expected_owner: Address | None = None
    expected_implementation: Address | None = None
    also: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        if self.window_blocks < 1:
            raise ConfigError(f"admin of {self.label}: window_blocks must be >= 1, was {self.window_blocks}")
        if (self.paused_from == "events") != (self.deployed_block is not None):
            raise ConfigError(
                f'admin of {self.label}: deployed_block goes with paused_from = "events" and only with it'
            )

    @property
    def name(self) -> str:
        return f"admin_events {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        state = () if self.paused_from == "nowhere" else (Metric.PAUSED,)
        return tuple(SeriesKey(metric, self.label, SOURCE) for metric in (*state, *_EVENTS))

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        try:
            values = await self._values(chain, block)
        except TransientError as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(key, float(values[key.metric])) for key in self.series]

    async def _values(self, chain: ChainReader, block: Block) -> dict[Metric, int]:
        """Return the state and the counts. Raises TransientError, BadRead when it is another contract."""
        for address in (self.address, *self.also):
            if not await chain.has_code(address, block=block):
                raise BadRead(f"admin of {self.label}: {address} has no code")
        counts = dict.fromkeys(_EVENTS, 0)
        counts[Metric.OWNERSHIP_CHANGED] += await self._is_other_owner(chain, block)
        counts[Metric.UPGRADED] += await self._is_other_implementation(chain, block)
        for item in await self._logs(chain, block):
            counts[_METRIC_OF[_topic(item)]] += 1
        return counts | {Metric.PAUSED: await self._is_paused(chain, block)}

    async def _logs(self, chain: ChainReader, block: Block) -> list[BlockLog]:
        addresses = [self.address, *self.also]
        first = max(0, block.number - self.window_blocks + 1)
        found = await chain.logs(addresses=addresses, topics=[sorted(_METRIC_OF)], from_block=first, to=block)
        return _checked(found, addresses, _METRIC_OF)

    async def _is_paused(self, chain: ChainReader, block: Block) -> bool:
        if self.paused_from == "call":
            (paused,) = await chain.read([ADMIN.call("paused", self.address)], block=block)
            return bool(need(paused, f"paused() of {self.label} at {self.address}")[0])
        if self.deployed_block is None:  # "nowhere"
            return False
        found = await chain.logs(
            addresses=[self.address], topics=[sorted(_PAUSED_BY)], from_block=self.deployed_block, to=block
        )
        found = _checked(found, [self.address], _PAUSED_BY)
        last = max(found, key=lambda item: (item.block_number, item.log_index), default=None)
        return last is not None and _PAUSED_BY[_topic(last)]

    async def _is_other_owner(self, chain: ChainReader, block: Block) -> bool:
        if self.expected_owner is None:
            return False
        (owner,) = await chain.read([ADMIN.call("owner", self.address)], block=block)
        found = str(need(owner, f"owner() of {self.label} at {self.address}")[0])
        return found.lower() != self.expected_owner.lower()

    async def _is_other_implementation(self, chain: ChainReader, block: Block) -> bool:
        if self.expected_implementation is None:
            return False
        word = await chain.storage_at(self.address, IMPLEMENTATION_SLOT, block=block)
        if len(word) != 32 or any(word[:12]) or not any(word):
            raise BadRead(f"{self.label} at {self.address} has no EIP-1967 implementation: 0x{word.hex()}")
        return word[12:].hex() != self.expected_implementation.lower().removeprefix("0x")


def _topic(item: BlockLog) -> str:
    return item.log.topics[0].lower() if item.log.topics else ""


def _checked(found: Sequence[BlockLog], addresses: Sequence[str], known: dict[str, Any]) -> list[BlockLog]:
    """Return the logs. Raises BadRead when the node sent what was not asked for."""
    wanted = {address.lower() for address in addresses}
    for item in found:
        if item.log.address.lower() not in wanted or _topic(item) not in known:
            raise BadRead(f"the node sent a log of {item.log.address} that was not asked for")
    return list(found)
