"""The results file: what is finished is on disk, what a crash cut off is dropped, nothing is mistaken."""

import json

import pytest
from small_disk import files_of_at_most
from sweep_builders import evaluation

from bot.errors import ConfigError
from bot.simulation.sweep.store import open_results

ONE, TWO = evaluation("one", [(0.1, 0.02), (float("nan"), 0.03)]), evaluation("two", [(1 / 3, 0.1)])


def names(path, study="study"):
    with open_results(path, study) as results:
        return [name for name in ("one", "two", "three") if results.get(name)]


def test_what_was_added_is_there_again_to_the_last_bit(tmp_path):
    path = tmp_path / "results.jsonl"
    with open_results(path, "study") as results:
        first = results.add(ONE)
        results.add(TWO)
        assert len(results) == 2
    with open_results(path, "study") as results:
        assert results.get("two") == TWO
        assert results.get("one").spans == first.spans == ONE.spans
        assert results.get("one").removed[0] == 0.1


def test_results_of_another_study_are_left_alone(tmp_path):
    path = tmp_path / "results.jsonl"
    for study, item in (("old code", ONE), ("new code", TWO)):
        with open_results(path, study) as results:
            results.add(item)
    assert names(path, "old code") == ["one"]
    assert names(path, "new code") == ["two"]
    assert path.read_text().count("\n") == 2


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_a_crash_cut_off_is_dropped_and_written_anew(tmp_path, cut):
    path = tmp_path / "results.jsonl"
    with open_results(path, "study") as results:
        results.add(ONE)
        results.add(TWO)
    path.write_bytes(path.read_bytes()[:-cut])
    with open_results(path, "study") as results:
        assert results.get("two") is None
        results.add(TWO)
    assert names(path) == ["one", "two"]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    "line",
    ["no json", "[]", "{}", '{"format":1,"study":"study"}', '{"format":1,"study":"study","removed":1}'],
)
def test_a_file_of_something_else_is_refused_and_kept(tmp_path, line):
    path = tmp_path / "notes.txt"
    path.write_text(f"{line}\n")
    with (
        pytest.raises(ConfigError, match=r"notes.txt, line 1 is no result of a sweep"),
        open_results(path, "study"),
    ):
        pass
    assert path.read_text() == f"{line}\n"


@pytest.mark.parametrize("text", ["what I never wrote down elsewhere", "[1]", '{"forms": 1'])
def test_a_file_of_something_else_without_an_end_of_line_is_kept_too(tmp_path, text):
    """A last line is dropped only where it begins as a cut-off one of ours does."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with (
        pytest.raises(ConfigError, match=r"notes.txt, line 1 is no result of a sweep"),
        open_results(path, "study"),
    ):
        pass
    assert path.read_text() == text


def test_a_second_sweep_on_one_file_is_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    with (
        open_results(path, "study"),
        pytest.raises(ConfigError, match="in use by another sweep"),
        open_results(path, "study"),
    ):
        pass
    assert names(path) == []


@pytest.mark.parametrize("place", ["absent/results.jsonl", "."])
def test_a_place_that_takes_no_file_is_refused(tmp_path, place):
    with (
        pytest.raises(ConfigError, match=r"cannot be written: .*name another --results"),
        open_results(tmp_path / place, "study"),
    ):
        pass


def test_on_a_full_disk_what_was_finished_stays(tmp_path):
    path = tmp_path / "results.jsonl"
    with files_of_at_most(300), open_results(path, "study") as results:
        results.add(ONE)
        with pytest.raises(ConfigError, match="cannot be written: File too large"):
            results.add(TWO)
    assert names(path) == ["one"]
