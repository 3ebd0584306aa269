"""JSON that is nested deeply is refused, whatever was imported: it must never end the process (REL-F9)."""

import subprocess
import sys

PROGRAM = """
import json, sys
import bot.app.live, bot.app.signer, bot.chain.accounts
assert sys.getrecursionlimit() <= 3_000, sys.getrecursionlimit()
try:
    json.loads("[" * 90_000)
except RecursionError:
    print("refused")
"""


def test_deep_json_is_an_error_and_no_crash():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "refused\n"), ended.stderr
