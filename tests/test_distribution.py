"""What is shipped: wheel and source distribution, the program from the wheel alone, one version."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import bot

ROOT = Path(__file__).parent.parent
EPOCH = "1700000000"  # any: two builds at one SOURCE_DATE_EPOCH must agree
# The market of calm.toml over the fewest hours that a scenario may have.
SHORT = re.sub(
    r"\[\[figures\]\].*",
    "",
    (ROOT / "bot/simulation/stress/scenarios/calm.toml").read_text().replace("hours = 216", "hours = 25"),
    flags=re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Installed:
    """The wheel in an environment that has the libraries and not the source, with an empty home."""

    folder: Path

    def run(self, *command: str, timeout_s: float = 120.0, **extra: str) -> subprocess.CompletedProcess[str]:
        env = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        env |= {"HOME": str(self.home), "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "COLUMNS": "80"}
        env |= extra
        return subprocess.run(
            command, cwd=self.home, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    @property
    def home(self) -> Path:
        return self.folder / "home"


def built(source: Path, target: Path, *kinds: str) -> dict[str, Path]:
    """Build from a source folder without a network; return what came of it by its ending."""
    options = [option for kind in kinds for option in ("-t", kind)]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", target, *options],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.suffix: path for path in target.iterdir()}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")


@pytest.fixture(scope="module")
def installed(shipped: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    made = Installed(folder)
    made.home.mkdir()
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(made.run("python", "-c", where).stdout.strip())
    # A plain line: what lies there is found; .pth files there, such as that of this source, are not read.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    pip += ["--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", str(shipped[".whl"])]
    subprocess.run(pip, check=True, timeout=120, capture_output=True)
    return made


def tracked() -> set[str]:
    """Every file of the source that git knows, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def cache(folder: Path) -> dict[str, str]:
    """Let a command find the downloaded packages of the devnet; downloading them is not in question."""
    return {"ALVH_CACHE_DIR": str(folder)}


def packaged(name: str) -> str:
    """Return where a file of the source lies in the wheel, "" when it does not belong there."""
    if name.startswith("contracts_abi/") and name.endswith(".json"):
        return f"bot/{name}"
    return name if name.startswith("bot/") else ""


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(shipped: dict[str, Path]):
    names = set(zipfile.ZipFile(shipped[".whl"]).namelist())
    code = {name for name in names if name.startswith("bot/")} - {"bot/contracts_abi/README.md"}
    assert code == {packaged(name) for name in tracked()} - {""}
    beside = {name.partition("/")[2] for name in names - code if not name.startswith("bot/")}
    assert beside == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def test_the_source_distribution_is_the_source_and_builds_the_same_wheel(
    shipped: dict[str, Path], tmp_path: Path
):
    with tarfile.open(shipped[".gz"]) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    inside = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert inside == tracked() | {"PKG-INFO"}
    again = built(source, tmp_path / "again", "wheel") | built(ROOT, tmp_path / "second", "sdist")
    for kind in (".whl", ".gz"):
        assert again[kind].read_bytes() == shipped[kind].read_bytes(), f"{kind} differs when built again"


def test_the_command_works_from_the_wheel_in_an_empty_home(installed: Installed):
    said = installed.run("alvh", "--version")
    assert (said.stdout, said.stderr) == (f"alvh-bot {bot.__version__}\n", "")
    where = installed.run("python", "-c", "import bot; print(bot.__file__)").stdout.strip()
    assert Path(where).is_relative_to(installed.folder), where


@pytest.mark.devnet
@pytest.mark.usefixtures("devnet_process")  # its packages are there, and its contracts built
def test_a_demo_runs_from_the_wheel_in_an_empty_home(installed: Installed, cache_dir: Path):
    """A day on the local chain, by the production path: policies, contracts, ABIs, report are packaged."""
    (installed.home / "short.toml").write_text(SHORT)
    played = installed.run(
        "alvh", "demo", "--scenario", "short.toml", "--json", "demo.json", **cache(cache_dir)
    )
    assert played.returncode == 0, played.stderr[-2_000:]
    document = json.loads((installed.home / "demo.json").read_text())
    assert document["orders"], "the standing TAIL is bought on the first day"
    assert {order["status"] for order in document["orders"]} == {"filled"}
    page = (installed.home / "alvh-demo.html").read_text()
    assert "</html>" in page
    assert {path.name for path in installed.home.iterdir()} >= {"short.toml", "demo.json", "alvh-demo.html"}


@pytest.mark.campaign
@pytest.mark.devnet
def test_the_demo_of_the_readme_runs_from_the_wheel_in_an_empty_home(installed: Installed, cache_dir: Path):
    played = installed.run("alvh", "demo", "--json", "terra.json", timeout_s=280.0, **cache(cache_dir))
    assert played.returncode == 0, played.stderr[-2_000:]
    final = json.loads((installed.home / "terra.json").read_text())["final"]
    assert final["hedged_max_drawdown"] < final["unhedged_max_drawdown"]


def test_the_version_is_the_newest_of_the_changelog_and_the_releases_are_dated():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[([^]]+)\](.*)$", text, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == bot.__version__
    for version, rest in headings[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), version
        assert re.fullmatch(r" - \d{4}-\d{2}-\d{2}", rest), rest
    assert [rest for _, rest in headings[1:]] == sorted((rest for _, rest in headings[1:]), reverse=True)
