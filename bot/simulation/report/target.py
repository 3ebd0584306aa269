"""Where a report goes: one HTML file, or a folder of its own.

Only the standard library, so that every command starts fast.
"""

import os
from pathlib import Path
from typing import Final

from bot.errors import ConfigError

INDEX: Final = "index.html"
RUN_FILE: Final = "run.json"
PARTS: Final = (INDEX, RUN_FILE, "csv", "png")  # what the folder of a report holds


def is_file_name(target: Path) -> bool:
    """Say whether a target names one HTML file; every other name is that of a folder."""
    return target.suffix.lower() in (".html", ".htm")


def refuse_bad_target(target: Path) -> None:
    """Raise ConfigError before the work where a report could not be written after it.

    A folder may be there when it is empty or holds an earlier report: nothing else is ever written into.
    """
    where = f"--report {target} cannot be written"
    if not is_file_name(target) and target.is_dir():
        others = sorted(item.name for item in target.iterdir() if item.name not in PARTS)
        if others:
            raise ConfigError(f"{where}: the folder holds {others[0]}; name a new folder or a file.html")
    elif target.is_dir() or (target.exists() and not is_file_name(target)):
        what = "is a folder" if target.is_dir() else "is a file that is no .html, and no folder"
        raise ConfigError(f"{where}: it {what}; choose another path")
    if not os.access(target.parent, os.W_OK | os.X_OK) or not target.parent.is_dir():
        raise ConfigError(f"{where}: it needs the folder {target.parent}, writable; choose another path")
