"""Structured logs: one line an event, with who called and the trace it belongs to."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from service.host.caller import current_caller

Format = Literal["text", "json"]


def configure(form: Format, level: int = logging.INFO) -> None:
    """Send every logger's lines to standard error, as text or as JSON."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_caller,
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last += [
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("feast").setLevel(logging.WARNING)


def _add_caller(_: object, __: str, event: EventDict) -> EventDict:
    """The caller of the call that logs, and its trace, where there are any."""
    caller = current_caller()
    if caller.client:
        event["client"] = caller.client
    if caller.request_id:
        event["request_id"] = caller.request_id
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.trace import format_trace_id, get_current_span

        span = get_current_span().get_span_context()
        if span.is_valid:
            event["trace_id"] = format_trace_id(span.trace_id)
    return event
