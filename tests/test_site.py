"""The site of the pages: built without a warning, from every page, and loading nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a browser fetches by itself; links that a reader may follow are not in question.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"|<link[^>]*\shref="([^"]+)"[^>]*>"""
)
_IN_STYLES = re.compile(r"""url\(["']?(?!data:)([^)"']+)|@import\s+["']([^"']+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", target],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_every_page_is_built(site: Path):
    """A page outside of the navigation, a link or an anchor that leads nowhere is an error of the build."""
    built = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    wanted = {
        str(page.with_name("index.html" if page.stem == "README" else f"{page.stem}.html")) for page in pages
    }
    assert built - {"404.html"} == wanted


def test_nothing_is_fetched_from_elsewhere(site: Path):
    for page in site.rglob("*.html"):
        fetched = [one or other for one, other in _FETCHED.findall(page.read_text())]
        assert fetched
        assert not [url for url in fetched if "//" in url], page.name
    for style in site.rglob("*.css"):
        assert not [url for pair in _IN_STYLES.findall(style.read_text()) for url in pair if "//" in url]


def test_the_search_has_the_words_of_the_pages(site: Path):
    index = (site / "search" / "search_index.json").read_text()
    assert "impermanent loss" in index
    assert "over-hedge guard" in index
