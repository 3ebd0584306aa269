"""What is read of chains, of the web and of positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bot.model.exposure import Exposure
from bot.model.intent import Log
from bot.model.market import Block, Observation, SeriesKey


class Call(NamedTuple):
    """One view call: where, calldata, and the ABI types of what comes back."""

    target: str
    data: bytes
    outputs: tuple[str, ...]


class BlockLog(NamedTuple):
    """One event log and where it stands."""

    log: Log
    block_number: int
    block_hash: str
    tx_hash: str
    tx_index: int
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeHistory:
    """Fees of consecutive blocks, oldest first, wei."""

    oldest_block: int
    base_fee_wei: tuple[int, ...]  # one more than blocks: the last is the next block's
    gas_used_share: tuple[float, ...]
    reward_wei: tuple[tuple[int, ...], ...]  # [block][percentile]


class ChainReader(Protocol):
    """Reads of one chain. Every read is pinned to a block hash."""

    @property
    def chain_id(self) -> int: ...

    async def head(self) -> Block:
        """Return the newest block. Raises TransientError."""
        ...

    async def read(self, calls: Sequence[Call], *, block: Block) -> list[tuple[Any, ...] | None]:
        """Return one decoded tuple per call, None where that call failed or came back empty.

        Raises TransientError when the batch as a whole could not be read, StaleDataError when the
        block is no longer canonical.
        """
        ...

    async def simulate(
        self,
        *,
        to: str,
        data: bytes,
        block: Block,
        sender: str,
        overrides: Mapping[str, Any] | None = None,
        gas: int | None = None,
    ) -> bytes:
        """Return what the call would return, with at most ``gas``. Raises VenueRejected with the reason."""
        ...

    async def storage_at(self, address: str, slot: int, *, block: Block) -> bytes: ...

    async def has_code(self, address: str, *, block: Block) -> bool: ...

    async def logs(
        self, *, addresses: Sequence[str], topics: Sequence[Sequence[str]], from_block: int, to: Block
    ) -> list[BlockLog]:
        """Return the logs of a block range, both ends included, in the order of the chain.

        ``topics`` lists the allowed values of each topic; empty means any. Never silently short: raises
        TransientError when the range could not be read whole, StaleDataError when ``to`` is not canonical.
        """
        ...

    async def fee_history(self, *, blocks: int, percentiles: Sequence[float], to: Block) -> FeeHistory:
        """Return base and priority fees of the ``blocks`` blocks that end with ``to``."""
        ...


class Watcher(Protocol):
    """One source of observations on one chain.

    A watcher is a frozen dataclass whose fields are its configuration: ``[[watch]]`` tables name its kind
    and its fields, contract addresses are typed ``bot.chain.address.Address``.
    """

    @property
    def name(self) -> str: ...

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        """Every series this watcher is configured to produce, so that absent and missing differ."""
        ...

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        """Return one observation per series; NaN with ``why_unknown`` where it could not be read."""
        ...


class WebReader(Protocol):
    """Reads of public HTTP sources: one deadline per call, rate limits kept, nothing secret in an error."""

    async def get(self, url: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Return the decoded JSON body. Raises TransientError, also when the source asks for a pause."""
        ...

    async def post(self, url: str, *, body: Mapping[str, Any]) -> Any: ...

    async def text(self, url: str, *, params: Mapping[str, str] | None = None) -> str:
        """Return the body as text (CSV, iCalendar)."""
        ...


class WebSource(Protocol):
    """One source of observations outside of any chain. A frozen dataclass, configured like a Watcher."""

    @property
    def name(self) -> str: ...

    @property
    def series(self) -> tuple[SeriesKey, ...]: ...

    @property
    def every_s(self) -> float:
        """How often the source has something new, seconds."""
        ...

    async def read(self, web: WebReader, *, now_s: float) -> list[Observation]:
        """Return what is newest, one observation per series; NaN with ``why_unknown`` where it failed."""
        ...

    async def history(self, web: WebReader, *, since_s: float, until_s: float) -> list[Observation]:
        """Return what the source still knows of a time span, oldest first; empty where it keeps none."""
        ...


class PositionReader(Protocol):
    """Reads protected positions. A position that cannot be read raises; it is never zero."""

    async def read(self, chain: ChainReader, *, block: Block) -> tuple[Exposure, ...]: ...
