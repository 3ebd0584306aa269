"""Traces of the stages of a step, through the SDK's own exporter; nothing where they are off."""

import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pipeline_builders import FakeVenue, ListJournal, moment

from bot.app.live import decide_only
from bot.errors import ConfigError
from bot.observe.tracing import tracing
from bot.pipeline.loop import Pipeline
from bot.ports.spans import no_span
from bot.settings import PolicySettings, load_policy


def pipeline():
    return Pipeline(
        mode="test",
        policy=load_policy(PolicySettings()),
        decide=decide_only,
        venues={"fake": FakeVenue()},
        journal=ListJournal(),
    )


async def test_a_step_is_a_span_with_its_stages_in_it():
    exporter, one = InMemorySpanExporter(), pipeline()
    with tracing("http://127.0.0.1:4318/v1/traces", mode="dry-run", exporter=exporter) as span:
        one.span = span
        await one.step(moment(1))
        await one.step(moment(2))
    found = exporter.get_finished_spans()
    names = [item.name for item in found]
    assert names == ["quote", "decide", "execute", "journal", "step"] * 2
    step = found[4]
    assert all(item.parent.span_id == step.context.span_id for item in found[:4])
    assert found[0].resource.attributes["alvh.mode"] == "dry-run"


async def test_off_no_span_is_made():
    one = pipeline()
    await one.step(moment(1))
    assert one.span is no_span
    assert no_span("a") is no_span("b")


def test_without_the_package_one_line_says_which_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'alvh-bot\[tracing\]'"),
        tracing("http://127.0.0.1:4318/", mode="dry-run"),
    ):
        pass
