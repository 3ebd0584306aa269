"""Standard output belongs to the command alone, since a JSON document may stand there."""

import subprocess
import sys

NOISE = """
import ctypes, shutil, sys
from bot.output import keep_stdout, write_json
keep_stdout()
libc = ctypes.CDLL(None)
libc.puts(b"from C")
write_json({"a": 1}, "-", lines=True)
libc.puts(b"from C again")
shutil.get_terminal_size()
"""


def test_what_libraries_print_from_c_is_no_part_of_a_document():
    """HiGHS prints a line of its own over some programmes, behind Python and at the exit at the latest."""
    done = subprocess.run([sys.executable, "-c", NOISE], capture_output=True, text=True, check=True)
    assert done.stdout == '{"a": 1}\n'
    assert done.stderr == ""


def test_a_closed_standard_output_stays_closed():
    closed = "import sys; sys.stdout = sys.__stdout__ = None\n"
    done = subprocess.run(
        [sys.executable, "-c", closed + "from bot.output import keep_stdout; keep_stdout()"],
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
