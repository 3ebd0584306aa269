"""A small made-up data folder for every test that asks for one."""

from pathlib import Path

import pytest
from history_builders import DataFolder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(path=tmp_path).write_all()
