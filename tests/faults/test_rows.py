"""Where each row of reliability.md that this part answers for is tested; a row without its test fails."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAULTS = "faults/test_faults.py"

ROWS = {
    "F1": (FAULTS, "test_f1_"),
    "F2": (FAULTS, "test_f2_"),
    "F3": (FAULTS, "test_f3_"),
    "F4": (FAULTS, "test_f4_"),
    "F5": (FAULTS, "test_f5_to_f10_a_spoiled_answer"),
    "F6": (FAULTS, "test_f5_to_f10_another_provider"),
    "F7": (FAULTS, "test_f7_"),
    "F8": (FAULTS, "test_f8_"),
    "F9": ("chain/test_rpc.py", "test_"),
    "F10": (FAULTS, "test_f10_"),
    "F11": (FAULTS, "test_f11_"),
    "F12": (FAULTS, "test_f12_"),
    "F13": (FAULTS, "test_f13_"),
    "F14": (FAULTS, "test_f14_"),
    "F15": ("chain/test_transactions.py", "test_a_receipt_of_a_block_that_is_not_canonical"),
    "F16": ("chain/test_logs.py", "test_a_log_that_is_kept_back_is_found_by_the_bloom"),
    "F17": ("watchers/test_registry.py", "test_"),
    "F18": (FAULTS, "test_f18_"),
    "F19": ("chain/test_wake.py", "test_no_block_is_missed_on_a_real_node_while_the_link_is_cut"),
    "F20": ("chain/test_fees.py", "test_impossible_fees_are_refused"),
    "C1": (FAULTS, "test_c1_"),
    "C6": ("chain/test_heads.py", "test_a_reorg_below_the_final_block_halts"),
    "C7": (FAULTS, "test_c7_"),
    "C9": ("watchers/test_sequencer.py", "test_c9_"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_test(row):
    file, prefix = ROWS[row]
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [name for name in names if name.startswith(prefix)], (row, file, prefix)
