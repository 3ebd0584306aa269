"""What may be installed, what runs by itself once it is, and the bill of materials (REL-S1, S2, S4)."""

import importlib.metadata
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from supply import secret_scan
from supply.scanners import TOOLS
from supply.startup_code import ALLOWED, runs_by_itself, startup_problems

ROOT = Path(__file__).parents[1]
EPOCH = "1700000000"
BUILDERS = {"editables", "hatchling", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
WORDS = {6: "six"}
WITH = {  # imported, and part of what a direct dependency gives its users
    "markupsafe": "jinja2",
    "multidict": "aiohttp",
    "pydantic-core": "pydantic",
    "rlp": "eth-account",
}
STAMP = """\
lock=requirements.lock
touch ".venv/.installed-$lock-$(cat $lock pyproject.toml - <<<"$PWD" | cksum | tr -d ' ')"
"""
SBOM = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))
METADATA = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
VALIDATE = """\
import sys
from pathlib import Path
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(sys.argv[1]).read_text())
print(found or "valid")
"""
INSTALL = 'source "$1/scripts/_environment.sh"; PIP_LOG=pip.log; install_locked "$2"'


# what may be installed


class Place:
    """An environment as scripts/ makes it, and an index that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.index = folder, folder / "index"
        self.index.mkdir()
        venv = folder / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
        (self.packages,) = venv.glob("lib/python*/site-packages")
        (self.packages / "pip.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def wheel(self, text: str = "VALUE = 1\n") -> Path:
        path = self.index / "tiny-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tiny.py", text)
            archive.writestr("tiny-1.0.dist-info/METADATA", METADATA)
            archive.writestr("tiny-1.0.dist-info/WHEEL", WHEEL)
            names = ("tiny.py", *(f"tiny-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")))
            archive.writestr("tiny-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in names))
        return path

    def sdist(self) -> Path:
        """A source distribution whose setup.py leaves a file behind when it runs."""
        source = self.folder / "tiny-1.0"
        source.mkdir()
        (source / "setup.py").write_text(f"open({str(self.folder / 'ran')!r}, 'w')\n")
        (source / "PKG-INFO").write_text(METADATA)
        path = self.index / "tiny-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(source, source.name)
        return path

    def install(self, digest: str | None) -> subprocess.CompletedProcess[str]:
        """Install by the scripts' own function; ``digest`` None: a lock without a hash."""
        pin = "" if digest is None else f" \\\n    --hash=sha256:{digest}"
        (self.folder / "tiny.lock").write_text(f"tiny==1.0{pin}\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        kept |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        return subprocess.run(
            ["bash", "-c", INSTALL, "bash", ROOT, "tiny.lock"],
            cwd=self.folder,
            env=kept,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def is_installed(self) -> bool:
        return (self.packages / "tiny.py").exists()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_wheel_of_the_lock_is_installed_and_one_that_was_changed_is_not(place: Place):
    digest = digest_of(place.wheel())
    place.wheel("VALUE = 2\n")  # the same name and version, as from an index that was taken over
    refused = place.install(digest)
    assert refused.returncode == 1
    assert "error: installing tiny.lock failed: " in refused.stderr
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not place.is_installed
    allowed = place.install(digest_of(place.wheel()))
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert place.is_installed


def test_a_release_without_a_hash_is_not_installed(place: Place):
    place.wheel()
    refused = place.install(None)
    assert refused.returncode == 1
    assert "hash" in refused.stderr.lower()
    assert not place.is_installed


def test_a_source_distribution_is_not_installed_and_nothing_of_it_runs(place: Place):
    refused = place.install(digest_of(place.sdist()))
    assert refused.returncode == 1
    assert "tiny" in refused.stderr
    assert not place.is_installed
    assert not (place.folder / "ran").exists()


# what runs by itself


def test_nothing_in_this_environment_runs_by_itself_but_what_is_allowed():
    assert startup_problems(Path(sysconfig.get_path("purelib"))) == []
    assert all(len(why.split()) >= 3 for why in ALLOWED.values())


def test_no_locked_package_brings_code_that_runs_by_itself():
    """By the lists of files that packages were installed with."""
    names = [one["name"] for one in SBOM["components"]((ROOT / "requirements.lock").read_text())]
    looked_at = 0
    for name in names:
        try:
            listed = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform or Python
        looked_at += 1
        assert [str(path) for path in listed if runs_by_itself(Path(path.name))] == [], name
    assert looked_at >= len(set(names)) - 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evil.pth", "import os; os.system('id')\n"),
        ("plain.pth", "/somewhere/else\n"),
        ("sitecustomize.py", "import socket\n"),
        ("usercustomize.py", ""),
        ("distutils-precedence.pth", "import socket\n"),  # an allowed name with something else in it
        ("_editable_impl_alvh_bot.pth", "import socket\n"),
    ],
)
def test_what_runs_by_itself_is_found(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    (problem,) = startup_problems(tmp_path)
    assert name in problem


# the bill of materials


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return json.loads(bill_in(tmp_path_factory.mktemp("dist")).read_text())


def bill_in(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sbom.py", folder],
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Path(done.stdout.strip())


def test_two_bills_of_one_source_are_the_same_bytes(tmp_path: Path):
    first, second = (bill_in(tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert first.name.endswith(".cdx.json")


def test_the_bill_names_every_release_of_the_lock_with_every_hash(document: dict):
    lock = (ROOT / "requirements.lock").read_text()
    listed = {(one["name"], one["version"]) for one in document["components"]}
    assert listed == set(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", lock, re.MULTILINE))
    hashes = [
        each["content"]
        for one in document["components"]
        for reference in one["externalReferences"]
        for each in reference["hashes"]
    ]
    assert hashes == re.findall(r"--hash=sha256:([0-9a-f]{64})", lock)
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (root,) = document["dependencies"]
    names = {ref.rpartition("/")[2].partition("@")[0] for ref in root["dependsOn"]}
    assert len(names) == len(direct)
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"


def test_the_bill_follows_the_standard(document: dict, tmp_path: Path):
    path = tmp_path / "bom.json"
    text = json.dumps(document)
    for given, words in ((text, "valid\n"), (text.replace('"library"', '"thing"'), "'thing' is not one of")):
        path.write_text(given)
        done = subprocess.run(
            [TOOLS / "python", "-c", VALIDATE, path], capture_output=True, text=True, timeout=60, check=True
        )
        assert words in done.stdout


def test_scripts_build_makes_all_that_is_released(tmp_path: Path):
    """On a copy, with an environment that counts as installed."""
    source, target = tmp_path / "source", tmp_path / "dist"
    for name in secret_scan.tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    (source / ".venv").mkdir()
    subprocess.run(["bash", "-c", STAMP], cwd=source, check=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [source / "scripts" / "build", target],
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sums = dict(reversed(line.split()) for line in (target / "SHA256SUMS").read_text().splitlines())
    assert sorted(Path(name).suffix for name in sums) == [".gz", ".json", ".whl"]
    assert {path.name for path in target.iterdir()} == {*sums, "SHA256SUMS"}
    assert all(digest_of(target / name) == digest for name, digest in sums.items())


# the page


def test_the_page_gives_each_direct_dependency_its_reason_and_counts_them_right():
    page = (ROOT / "docs" / "supply-chain.md").read_text()
    table = page.partition("## Direct dependencies")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE)
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [name for name, _ in rows] == [re.split(r"[<>=\[]", item)[0] for item in asked]
    assert all(reason.strip() for _, reason in rows)
    listed = list(SBOM["components"]((ROOT / "requirements.lock").read_text()))
    names = {one["name"] for one in listed}
    elsewhere = {one["name"] for one in listed if "win32" in json.dumps(one.get("properties", ()))}
    assert f"names {len(names)} packages. On Linux a service has {len(names - elsewhere)} of them" in table
    assert names - elsewhere >= BUILDERS
    assert f"{WORDS[len(BUILDERS)]} of which only build the project" in table


def test_every_package_that_is_imported_is_a_direct_dependency_and_each_of_those_is_imported():
    """One that only comes along may go again; one that nobody imports is a risk for nothing."""
    imported = set()
    for path in (ROOT / "bot").rglob("*.py"):
        imported |= set(re.findall(r"^ *(?:from|import) ([a-zA-Z_]\w*)", path.read_text(), re.MULTILINE))
    owners = importlib.metadata.packages_distributions()
    brought = {SBOM["lock_name"](owner) for name in imported for owner in owners.get(name, ())}
    listed = {one["name"] for one in SBOM["components"]((ROOT / "requirements.lock").read_text())}
    direct = SBOM["direct_names"]()
    assert direct - brought == {"tzdata"}, "tzdata is data that zoneinfo reads"
    assert (brought & listed) - direct == WITH.keys()
    for name, parent in WITH.items():
        asked = [re.split(r"[^\w.-]", item)[0] for item in importlib.metadata.requires(parent) or ()]
        assert name in {SBOM["lock_name"](item) for item in asked}, name
