"""Files that ``alvh init`` writes: whole or not at all, readable by their owner only, never over another."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from bot.errors import ConfigError


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise ConfigError before the work where a file could not be written after it."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; name another file, or replace it with --force")
    folder = path.parent
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(f"{path} cannot be written: {folder} is no writable folder; name another place")


def write_private(path: Path, text: str, *, force: bool) -> None:
    """Write a file of mode 0600. Raises ConfigError; what was there stays unless ``force``."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(draft, text)
            _put(draft, path, force=force)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; name another place") from None


def _put(draft: Path, path: Path, *, force: bool) -> None:
    try:
        if force:
            draft.replace(path)
        else:
            os.link(draft, path)  # fails where a file is, also one that came since we looked
    except FileExistsError:
        raise ConfigError(f"{path} is there already; name another file, or replace it with --force") from None


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)


def env_text(path: Path, values: Mapping[str, str], *, force: bool) -> str:
    """Return an .env file for a shell, with what else an existing one says kept as it is.

    Raises ConfigError when it cannot be read, and without ``force`` when it gives another value.
    """
    try:
        before = path.read_text("utf-8") if path.exists() else "# Secrets of alvh. Take them with: set -a\n"
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; name another file with --env-file") from None
    lines = {name: f"{name}={shlex.quote(value)}" for name, value in values.items()}
    kept = []
    for line in before.splitlines():
        name = line.partition("=")[0].strip().removeprefix("export ").strip()
        if name not in lines:
            kept.append(line)
        elif not force and line.strip().removeprefix("export ") != lines[name]:
            words = "name another file with --env-file, or replace its value with --force"
            raise ConfigError(f"{path} gives {name} another value already; {words}")
    return "\n".join([*kept, *lines.values()]) + "\n"
