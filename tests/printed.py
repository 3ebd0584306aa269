"""What a command prints, run in this process: in a terminal of some width, with letters of some encoding."""

import contextlib
import io
from dataclasses import dataclass

import pytest

from bot.cli import main
from bot.cli.shared import err, out
from bot.output import keep_letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    code: int
    text: str  # standard output and standard error

    def refused(self, code: int, *words: str) -> None:
        """Check that the command ended with ``code`` and one line that holds ``words``."""
        assert self.code == code, self
        assert self.text.startswith("error: "), self
        assert self.text.count("\n") == 1, self
        for word in words:
            assert word in self.text, (word, self)


def printed(*arguments: str, width: int = 80, encoding: str = "utf-8") -> Printed:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    widths = out._width, err._width
    out.width = err.width = width
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            keep_letters()
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
    finally:
        out._width, err._width = widths
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return Printed(code=code or 0, text=buffer.getvalue().decode(encoding))
