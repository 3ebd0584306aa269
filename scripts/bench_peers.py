"""Environments of the programs that ``scripts/bench`` compares with, each made on first use."""

import subprocess
import sys
from pathlib import Path

from bot.errors import TransientError
from bot.settings import cache_dir


def peer_python(spec: str) -> Path:
    """Return the python of an environment with a peer in it, such as "name==1.2". Raises TransientError."""
    folder = cache_dir() / "bench" / spec.replace("==", "-")
    python = folder / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", spec],
    ):
        if (folder / "complete").exists():
            break
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            words = last_line(told.stderr.strip() or told.stdout)
            raise TransientError(f"{spec} cannot be installed to compare with: {words}")
    (folder / "complete").touch()
    return python


def last_line(text: str) -> str:
    """Return what a program said last, for the line of a refusal."""
    return (text.strip() or "no reason given").splitlines()[-1][:200]
