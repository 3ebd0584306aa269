"""Code that Python runs when it starts, without anybody importing it: the way of a stolen release."""

import re
from pathlib import Path

# File -> what it is. A line of a .pth file that begins with "import" is run at every start.
ALLOWED = {
    "_editable_impl_alvh_bot.pth": "the project itself, editable: the folder of its source and no code",
    "distutils-precedence.pth": "comes with setuptools, which Python 3.11 puts into a new environment",
}
_LINES = {
    "_editable_impl_alvh_bot.pth": re.compile(r"/[^\n]*\n?"),
    "distutils-precedence.pth": re.compile(
        r"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; "
        r"enabled = os\.environ\.get\(var, '(?:local|stdlib)'\) == 'local'; "
        r"enabled and __import__\('_distutils_hack'\)\.add_shim\(\); *\n?"
    ),
}
_CUSTOM = ("sitecustomize", "usercustomize")


def runs_by_itself(path: Path) -> bool:
    """True for a file that Python reads at its start when it lies in site-packages."""
    return path.suffix == ".pth" or path.stem.partition(".")[0] in _CUSTOM


def startup_problems(site_packages: Path) -> list[str]:
    """Return one line for each file that runs by itself and is not allowed, or is not as it should be."""
    found = []
    for path in sorted(filter(runs_by_itself, site_packages.iterdir())):
        if path.name not in ALLOWED:
            found.append(f"{path.name} runs whenever Python starts, and is not one of {', '.join(ALLOWED)}")
        elif not _LINES[path.name].fullmatch(path.read_text()):
            found.append(f"{path.name} is allowed, and holds something else than it should")
    return found
