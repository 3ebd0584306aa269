"""``alvh montecarlo`` as a user meets it: figures with intervals, documents, one line per refusal."""

from pathlib import Path

import pytest
from commands import CommandServer, strict_json

pytestmark = [pytest.mark.xdist_group("cli")]

RUN = ("montecarlo", "--exposure", "v2:ETH/USDC:1000000")
SMALL = (*RUN, "--paths", "300", "--days", "20")


def test_a_run_prints_figures_with_intervals(server: CommandServer, tmp_path: Path):
    ended = server.start(*SMALL, "--seed", "4", cwd=tmp_path).wait()
    assert ended.code == 0, ended.err
    for words in (
        "steward",
        "Worst 10 days",
        "expected shortfall",
        "Time to protect",
        "seed 4",
        "Simplified",
    ):
        assert words in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_a_document_and_a_page_for_each_policy(server: CommandServer, tmp_path: Path):
    given = (*SMALL, "--policy", "steward", "--policy", "classic", "--json", "--report", "mc.html")
    ended = server.start(*given, cwd=tmp_path).wait()
    document = strict_json(ended.out)
    assert list(document["policies"]) == ["steward", "classic"]
    figures = document["policies"]["classic"]["figures"]
    ends = figures["Mean value at the end"]
    assert ends["hedged"]["low"] < ends["hedged"]["value"] < ends["hedged"]["high"]
    assert figures["Cost a year"]["unhedged"]["value"] is None
    fan = document["policies"]["steward"]["fan"]
    assert len(fan["days"]) == 21
    assert len(fan["hedged"]) == 5
    assert all(low <= high for low, high in zip(fan["hedged"][0], fan["hedged"][4], strict=True))
    assert {path.name for path in tmp_path.glob("*.html")} == {"mc-steward.html", "mc-classic.html"}


def test_the_same_seed_gives_the_same_document(server: CommandServer, tmp_path: Path):
    outs = [server.start(*SMALL, "--json", cwd=tmp_path).wait().out for _ in range(2)]
    assert outs[0] == outs[1]
    other = server.start(*SMALL, "--seed", "2", "--json", cwd=tmp_path).wait().out
    assert other != outs[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--paths", "0"), ("--paths", "between 1 and", "was 0")),
        (("--days", "0"), ("--days", "between 1 and", "was 0")),
        (("--seed", "one"), ("--seed", "one")),
        (("--seed", "-1"), ("--seed", "-1")),
        (("--kind", "dream"), ("--kind", "bootstrap", "'dream'")),
        (("--kind", "bootstrap"), ("--data",)),
        (("--model", "nowhere.toml"), ("nowhere.toml", "cannot be read")),
        (("--market", "nowhere.toml"), ("nowhere.toml",)),
        (("--policy", "nowhere.toml"), ("nowhere.toml",)),
        (("--policy", "steward", "--policy", "steward"), ("--policy", "once")),
        (("--exact", "-1"), ("--exact", "was -1")),
        (("--exact", "2", "--paths", "1"), ("--exact", "was 2")),
        (("--exposure", "v9:ETH/USDC:1"), ("v9", "v2")),
        (("--data", "nowhere", "--kind", "bootstrap"), ("--data", "nowhere")),
        (("--fit", "model.toml"), ("--fit", "--data")),
        (("--report", "no/such/page.html"), ("--report", "no/such")),
        (("--json", "no/such/page.json"), ("--json", "no/such")),
    ],
    ids=str,
)
def test_a_run_that_cannot_be(server: CommandServer, tmp_path: Path, arguments, words):
    server.start(*RUN, *arguments, cwd=tmp_path).wait().refused(4, *words)


def own_policy(path: Path, name: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'name = "{name}"\nextends = "steward"\n')
    return str(path)


def test_the_page_of_a_policy_is_where_the_command_says(server: CommandServer, tmp_path: Path):
    """By the file's name, not by the name that the policy gives itself."""
    given = ("--policy", own_policy(tmp_path / "mine.toml", "another"), "--policy", "classic")
    ended = server.start(*SMALL, *given, "--report", "mc.html", cwd=tmp_path).wait()
    assert ended.code == 0, ended.err
    told = [line.removeprefix("report: ") for line in ended.out.splitlines() if line.startswith("report: ")]
    assert told == ["mc-mine.html", "mc-classic.html"]
    assert {path.name for path in tmp_path.glob("*.html")} == set(told)


@pytest.mark.parametrize(
    ("first", "second", "more", "words"),
    [
        (("a.toml", "steward"), None, (), ("one name", "'steward'")),
        (("a/x.toml", "one"), ("b/x.toml", "two"), ("--report", "mc.html"), ("--report", "x, x")),
    ],
    ids=str,
)
def test_policies_that_would_hide_each_other_are_refused(
    server: CommandServer, tmp_path: Path, first, second, more, words
):
    files = [own_policy(tmp_path / name, said) for name, said in filter(None, (first, second))]
    given = [part for name in (*files, *([] if second else ["steward"])) for part in ("--policy", name)]
    server.start(*SMALL, *given, *more, cwd=tmp_path).wait().refused(4, *words)


def test_a_run_needs_an_exposure(server: CommandServer, tmp_path: Path):
    server.start("montecarlo", cwd=tmp_path).wait().refused(4, "--exposure")
