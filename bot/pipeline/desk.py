"""What a person asks of a running bot: a pause, and orders of their own, through files in the state folder.

An order is one file, complete from the moment it has its name. The bot takes it at its next step and writes
it to the journal before anything is sent, so that it is done once whatever happens; then the file goes.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bot.chain.pause import first_pause
from bot.errors import ConfigError, InvariantError, one_line
from bot.model.account_order import AccountOrder
from bot.model.cover import CoverOrder
from bot.model.hedge import HedgeLeg
from bot.model.parsing import json_of
from bot.model.perpetual import PerpetualOrder
from bot.pipeline import codec

_FOLDER = "orders"
_MOST_BYTES = 100_000
_MOST_SHOWN = 500  # characters of a line about a file, which may repeat what it holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Orders that a person wants done together, in their order."""

    legs: tuple[HedgeLeg, ...]
    by: str  # who asked
    account_orders: tuple[AccountOrder, ...] = ()  # on positions and loans
    covers: tuple[CoverOrder, ...] = ()  # to buy
    perpetuals: tuple[PerpetualOrder, ...] = ()  # to close

    @property
    def key(self) -> str:
        """The key of its first order."""
        orders: tuple[HedgeLeg | AccountOrder | CoverOrder | PerpetualOrder, ...] = (
            *self.legs,
            *self.account_orders,
            *self.covers,
            *self.perpetuals,
        )
        return orders[0].key


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person left for one step."""

    holds: tuple[str, ...] = ()
    requests: tuple[tuple[Path, Request], ...] = ()


class OrderDesk(Protocol):
    """Where the loop finds what a person asked for."""

    def asked(self) -> Asked: ...

    def done(self, path: Path) -> None:
        """Take an order away, once the journal has it or nobody can do it."""
        ...


class Desk:
    """Reads what a person left in the state folder of one mode's journal.

    ``pauses`` are all folders in which a pause may stand, the state folder alone where none is named.
    """

    def __init__(self, state_dir: Path, *, mode: str, pauses: Sequence[Path] = ()) -> None:
        self._pauses = tuple(pauses) or (state_dir,)
        self._folder = state_dir / f"{_FOLDER}-{mode}"

    def asked(self) -> Asked:
        """Return all of it; an order that cannot be read is a hold until a person looks at it."""
        found = self.requests()
        unreadable = tuple(item for _, item in found if isinstance(item, str))
        requests = tuple((path, item) for path, item in found if isinstance(item, Request))
        return Asked(holds=(*self.holds(), *unreadable), requests=requests)

    def holds(self) -> tuple[str, ...]:
        """Return why nothing may be opened: the pause in force. Closing goes on."""
        pause = first_pause(self._pauses)
        return (f"{pause}; alvh resume ends it",) if pause is not None else ()

    def requests(self) -> tuple[tuple[Path, Request | str], ...]:
        """Return the orders that wait, oldest first, with their files; a text says why one is unreadable."""
        files = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        return tuple((path, _read(path)) for path in files)

    def leave(self, request: Request) -> Path:
        """Leave an order for the bot. Raises ConfigError when it cannot be written: nothing is asked then."""
        body = request_document(request)
        path = self._folder / f"{request.key.replace('/', '.')}.json"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(body, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError as error:
            raise ConfigError(f"order {path} cannot be left for the bot: {error.strerror}") from None
        return path

    def done(self, path: Path) -> None:
        """Take an order away, once the journal has it or nobody can do it."""
        path.unlink(missing_ok=True)


def request_document(request: Request) -> dict[str, Any]:
    """Return a request as JSON holds it."""
    return {
        "by": request.by,
        "legs": [codec.dumps(leg) for leg in request.legs],
        "account_orders": [codec.dumps(order) for order in request.account_orders],
        "covers": [codec.dumps(order) for order in request.covers],
        "perpetuals": [codec.dumps(order) for order in request.perpetuals],
    }


def request_from(body: Mapping[str, Any]) -> Request:
    """Return what ``request_document`` wrote. Raises KeyError, TypeError or InvariantError for other text."""
    return Request(
        legs=tuple(codec.loads(HedgeLeg, text) for text in body["legs"]),
        by=str(body["by"]),
        account_orders=tuple(codec.loads(AccountOrder, text) for text in body.get("account_orders", ())),
        covers=tuple(codec.loads(CoverOrder, text) for text in body.get("covers", ())),
        perpetuals=tuple(codec.loads(PerpetualOrder, text) for text in body.get("perpetuals", ())),
    )


def _read(path: Path) -> Request | str:
    try:
        with path.open("rb") as file:
            return request_from(json_of(file.read(_MOST_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, InvariantError) as error:
        words = f"order {path.name} cannot be read and is left out, ask for it again: {error}"
        return one_line(words, most=_MOST_SHOWN)
