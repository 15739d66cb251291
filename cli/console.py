"""The only way to standard output and standard error: every message is one line that is safe to show.

Names of files, stores and tags are strangers' words. What in them would act on the terminal is escaped here,
at the sink, and what its encoding cannot express is escaped too instead of being an error.
"""

import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import click

from toolkit.runtime.messages import printable


def prepare() -> None:
    """Let log records and tracebacks be shown as `say` shows messages."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    sys.excepthook = show_traceback


def say(message: object, *, err: bool = False) -> None:
    """Print a message as one line."""
    click.echo(shown(str(message), err=err), err=err)


def say_json(document: Any) -> None:
    """Print one JSON document on one line; it reads back exactly, whatever the terminal's encoding."""
    text = printable(json.dumps(document, ensure_ascii=False), _in_json)
    try:
        text.encode(_encoding(err=False))
    except UnicodeEncodeError:
        text = json.dumps(document)  # in ASCII
    click.echo(text)


def shown(text: str, *, err: bool = False) -> str:
    """Return `text` in one line that standard output, or standard error, can show."""
    encoding = _encoding(err=err)
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


class PrintableFormatter(logging.Formatter):
    """Makes a log record one line; a traceback, if it has one, follows."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message as `say` prints it."""
        return shown(super().formatMessage(record), err=True)

    def formatException(self, ei: Any) -> str:
        """Return the traceback, each line as `say` prints it."""
        return "\n".join(shown(line, err=True) for line in super().formatException(ei).split("\n"))


def show_traceback(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """Print a traceback, a `sys.excepthook`."""
    for part in traceback.format_exception(kind, error, trace):
        for line in part.removesuffix("\n").split("\n"):
            say(line, err=True)


def _in_json(character: str) -> str:
    return json.dumps(character)[1:-1]


def _encoding(*, err: bool) -> str:
    return getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
