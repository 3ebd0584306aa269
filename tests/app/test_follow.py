"""What a person hears beside the decisions: few lines, each once."""

import math
from dataclasses import replace

import pytest
from engine.factory import reading
from presented import record

from bot.app.follow import Listener, StepNews, warming_notice
from bot.chain.provider_pool import ProviderStatus
from bot.chain.providers import Providers
from bot.chain.rpc import Rpc
from bot.cli import operate
from bot.errors import TransientError
from bot.model.tier import Quality
from bot.pipeline.backfill import Filled, Problem
from bot.pipeline.gaps import BETWEEN_POLLS, Gap

A, B = "http://127.0.0.1:1/…", "http://127.0.0.1:2/…"
NO_STATE = "node error -32000: missing trie node 12 (path )"


def heard():
    lines = []
    return lines, Listener(on_notice=lines.append, on_trouble=lambda error: lines.append(f"trouble: {error}"))


def warming(signal, until_s):
    return replace(reading(signal, math.nan), quality=Quality.WARMING, warm_at_s=until_s)


def test_what_warms_is_one_line_with_the_last_end():
    end_s = 1_700_006_400.0
    found = warming_notice([warming("S1", end_s - 60), warming("S2", end_s), warming("S2", end_s - 120)])
    assert found == "2 signals are warming, the last until 2023-11-15 00:00 UTC"
    assert (
        warming_notice([warming("S1", end_s)]) == "1 signal is warming, the last until 2023-11-15 00:00 UTC"
    )
    assert warming_notice([reading("S1", 0.5)]) == ""


def test_a_node_without_old_states_is_one_line():
    lines, listener = heard()
    problems = [Problem(f"chain 1 before 2026-01-0{day}T00:00:00Z", NO_STATE) for day in range(1, 9)]
    listener.filled(
        Filled(rows=0, asked=8, problems=(*problems, Problem("chain 1", f"given up: {NO_STATE}")))
    )
    assert lines == ["history: chain 1: the node keeps no old states; signals warm up from now on"]
    assert len(lines[0]) <= 80


def test_other_problems_are_named_and_many_are_counted():
    lines, listener = heard()
    listener.filled(
        Filled(rows=0, asked=5, problems=tuple(Problem(f"web {i}", "HTTP 500") for i in range(5)))
    )
    assert lines == [
        "history: web 0: HTTP 500",
        "history: web 1: HTTP 500",
        "history: web 2: HTTP 500",
        "history: web 4: HTTP 500 (5 problems in all)",
    ]


def test_a_gap_is_said_unless_it_lies_between_two_polls():
    lines, listener = heard()
    gap = Gap(1, 10, 12, 1_700_006_400.0, 1_700_006_436.0, "no answer")
    listener.gap(gap)
    listener.gap(gap._replace(why=BETWEEN_POLLS))
    assert lines == [
        "chain 1: blocks 10 to 12 were not observed (2023-11-15T00:00:00Z to 2023-11-15T00:00:36Z): no answer"
    ]


class Watched(Providers):
    """Providers whose health a test sets."""

    def __init__(self):
        super().__init__([Rpc("http://127.0.0.1:1"), Rpc("http://127.0.0.1:2")], chain_id=1)
        self.because = ["", ""]

    def status(self):
        return tuple(
            ProviderStatus(where, not why, why, None, math.nan, benched=bool(why))
            for where, why in zip((A, B), self.because, strict=True)
        )


async def test_a_provider_is_told_when_it_goes_and_when_it_comes_back():
    lines, listener = heard()
    async with Watched() as node:
        news = StepNews(node=node, listener=listener)
        news.look(record())
        assert not any(A in line or B in line for line in lines)
        lines.clear()
        node.because[1] = "its head 5 is 9 blocks behind that of the others"
        news.look(record())
        news.look(record())
        assert lines == [f"trouble: {B} is not used: its head 5 is 9 blocks behind that of the others"]
        node.because[1] = ""
        news.look(record())
        news.look(record())
        assert lines[1:] == [f"{B} is used again"]


@pytest.fixture
def say(capsys):
    told = operate.say_once()

    def lines(*texts):
        for text in texts:
            told(TransientError(text))
        return capsys.readouterr().err.splitlines()

    return lines


def test_the_same_trouble_is_said_once_also_when_two_take_turns(say):
    assert say("A fails", "B fails", "A fails", "B fails") == ["trouble: A fails", "trouble: B fails"]


def test_a_number_that_grows_does_not_make_another_trouble(say):
    assert say("chain 1 was read 12 s ago", "chain 1 was read 13 s ago") == [
        "trouble: chain 1 was read 12 s ago"
    ]
