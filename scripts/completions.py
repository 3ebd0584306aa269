"""Writes packaging/completions, what completes commands at a shell's prompt, as the program itself prints it.

Run it after typer was updated: python scripts/completions.py
"""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "packaging" / "completions"
SHELLS = ("bash", "zsh", "fish")


def printed(shell: str) -> str:
    """Return what ``_ALVH_COMPLETE=source_SHELL alvh`` prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("alvh")],
        env={**os.environ, "_ALVH_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for shell in SHELLS:
        (FOLDER / f"alvh.{shell}").write_text(printed(shell), encoding="utf-8")
    print(f"wrote {FOLDER}")


if __name__ == "__main__":
    main()
