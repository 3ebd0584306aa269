"""The planted bugs fit today's source; what they are judged by is ``scripts/campaign planted``."""

import pytest

from campaign.catalogue import FAULTS
from campaign.place import ROOT
from campaign.planted.bugs import bugs
from campaign.planted.witnesses import WITNESSES

BUGS = {bug.id: bug for bug in bugs()}


def test_there_are_twenty_and_each_has_its_own_name():
    assert len(bugs()) == len(BUGS) == 20


@pytest.mark.parametrize("name", BUGS)
def test_a_patch_fits_once_and_leaves_a_program(name):
    for edit in BUGS[name].edits:
        text = edit.applied(ROOT)
        assert text != (ROOT / edit.file).read_text("utf-8")
        compile(text, edit.file, "exec")


@pytest.mark.parametrize("name", BUGS)
def test_each_is_to_be_caught_by_cases_that_are_named_somewhere(name):
    known = {fault.id for fault in FAULTS} | set(WITNESSES)
    assert BUGS[name].caught_by
    assert set(BUGS[name].caught_by) <= known


def test_a_patch_that_does_not_fit_says_so(tmp_path):
    (edit, *_) = BUGS["no-fsync"].edits
    place = tmp_path / edit.file
    place.parent.mkdir(parents=True)
    for text, count in (("", 0), (edit.old * 2, 2)):
        place.write_text(text)
        with pytest.raises(ValueError, match=f"{count} times, once is wanted"):
            edit.applied(tmp_path)
