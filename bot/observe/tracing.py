"""Traces of what a step does, where OpenTelemetry is installed and an endpoint is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bot import __version__
from bot.errors import ConfigError
from bot.ports.spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_FLUSH_MS = 5_000


@contextmanager
def tracing(endpoint: str, *, mode: str, exporter: "SpanExporter | None" = None) -> Iterator[Span]:
    """Yield what makes a span of a stage; on the way out what is left is sent, for at most 5 s.

    ``exporter`` stands in place of the one over HTTP. Raises ConfigError where the packages are missing.
    """
    provider = _provider(endpoint, mode, exporter)
    tracer = provider.get_tracer("alvh", __version__)

    def span(stage: str) -> Any:
        return tracer.start_as_current_span(stage)

    try:
        yield span
    finally:
        provider.force_flush(_FLUSH_MS)
        provider.shutdown()


def _provider(endpoint: str, mode: str, exporter: "SpanExporter | None") -> "TracerProvider":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        raise ConfigError(
            "tracing.endpoint needs OpenTelemetry: pip install 'alvh-bot[tracing]', or remove it"
        ) from None
    resource = Resource.create(
        {"service.name": "alvh-bot", "service.version": __version__, "alvh.mode": mode}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=endpoint)))
    return provider
