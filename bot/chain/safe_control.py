"""Who may move a Safe's money, as it was when a person last agreed to it; kept in a file of the state folder.

A change stops new risk by the pause, which only a person ends; from then on the new state is the one to
compare with, so that ending the pause is agreeing to it.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bot.chain.safe_state import SafeState
from bot.errors import ConfigError
from bot.model.parsing import json_of


class SafeControl:
    """``on_change`` is told of a change, and has stopped new risk when it returns."""

    def __init__(self, path: Path, *, on_change: Callable[[str], None]) -> None:
        self._path, self._on_change = path, on_change

    def check(self, state: SafeState) -> str:
        """Return what has changed since it was last agreed to, "" for nothing. The first state is agreed to.

        Raises ConfigError when the file is damaged or cannot be written: nothing may be proposed then.
        """
        earlier = self._read()
        changes = state.control_changes(earlier) if earlier is not None else ()
        if earlier is not None and not changes:
            return ""
        said = ""
        if changes:
            said = f"control of Safe {state.address} changed: {'; '.join(changes)}"
            self._on_change(said)
        self._write(state)
        return said

    def _read(self) -> SafeState | None:
        try:
            with self._path.open("rb") as file:
                found: dict[str, Any] = json_of(file.read())
            if found.keys() != {field.name for field in fields(SafeState)}:
                raise ValueError
            for name in ("owners", "modules"):
                found[name] = tuple(found[name])
            return SafeState(**found)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError):
            raise ConfigError(
                f"{self._path} is damaged: it says who controlled the Safe when a person last agreed to it; "
                "look at the Safe's owners, modules and guard, then delete the file"
            ) from None

    def _write(self, state: SafeState) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(state), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be written: {error.strerror}") from None
