"""The bill of materials of a release: CycloneDX 1.6 in JSON, made of requirements.lock and of nothing else.

``sbom.py FOLDER`` writes alvh_bot-VERSION.cdx.json there. Two runs at one SOURCE_DATE_EPOCH write the same
bytes: the time is that one, and the serial number follows from what is listed. Every hash of the lock is in
it; what a package is not installed without (a platform, a Python) is its property ``alvh:only-where``.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot import __version__

ROOT = Path(__file__).parents[1]
NAME = "alvh-bot"
ROOT_REF = f"pkg:pypi/{NAME}@{__version__}"
ONLY_WHERE = "alvh:only-where"
_ENTRY = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? *\\?\n"
    r"(?P<hashes>(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)


def components(lock: str) -> Iterator[dict[str, Any]]:
    """Yield each package of a lock file, in its order."""
    for entry in _ENTRY.finditer(lock):
        purl = f"pkg:pypi/{entry['name']}@{entry['version']}"
        hashes = [
            {"alg": "SHA-256", "content": one}
            for one in re.findall(r"sha256:([0-9a-f]{64})", entry["hashes"])
        ]
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": purl,
            "name": entry["name"],
            "version": entry["version"],
            "purl": purl,
            # One file of the package has one of these: the lock is for every platform.
            "externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}],
        }
        if entry["marker"]:
            component["properties"] = [{"name": ONLY_WHERE, "value": entry["marker"]}]
        yield component


def bill(*, lock: str, direct: set[str], at_s: int) -> dict[str, Any]:
    """Return the document. ``direct``: names that pyproject.toml asks for; ``at_s`` in seconds since 1970."""
    listed = list(components(lock))
    content = hashlib.sha256(json.dumps([ROOT_REF, at_s, listed]).encode()).digest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.UUID(bytes=content[:16], version=4).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(at_s, UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": ROOT_REF,
                "name": NAME,
                "version": __version__,
                "purl": ROOT_REF,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": listed,
        "dependencies": [
            {"ref": ROOT_REF, "dependsOn": [one["bom-ref"] for one in listed if one["name"] in direct]}
        ],
        "compositions": [
            {"aggregate": "incomplete", "dependencies": [ROOT_REF]}
        ],  # who brings whom is not said
    }


def direct_names() -> set[str]:
    """Return the packages that pyproject.toml names, as a lock writes them."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return {lock_name(re.split(r"[\[<>=!~; ]", item)[0]) for item in wanted}


def lock_name(name: str) -> str:
    """Return a package's name as a lock writes it."""
    return re.sub(r"[._-]+", "-", name).lower()


def main(folder: Path) -> Path:
    """Write the document of this source; return its path."""
    at_s = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    document = bill(lock=(ROOT / "requirements.lock").read_text(), direct=direct_names(), at_s=at_s)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"alvh_bot-{__version__}.cdx.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
