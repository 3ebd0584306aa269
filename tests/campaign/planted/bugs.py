"""The patches of bugs.toml, read and applied."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("bugs.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """``old`` stands exactly once in the file and becomes ``new``."""

    file: str
    old: str
    new: str

    def applied(self, root: Path) -> str:
        """Return the file's text with the bug. Raises ValueError where ``old`` is not there exactly once."""
        text = (root / self.file).read_text("utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.file} holds the text of a planted bug {count} times, once is wanted: {self.old!r:.80}"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """``breaks`` is the invariant at stake; ``caught_by`` are the cases that must notice, in these words."""

    id: str
    what: str
    breaks: str
    caught_by: tuple[str, ...]
    says: str
    edits: tuple[Edit, ...]

    def plant(self, root: Path) -> None:
        """Put the bug into a copy of the tree. Raises ValueError."""
        for edit in self.edits:
            (root / edit.file).write_text(edit.applied(root), "utf-8")


def bugs() -> tuple[Bug, ...]:
    """Return all planted bugs."""
    document = tomllib.loads(FILE.read_text("utf-8"))
    return tuple(
        Bug(
            id=item["id"],
            what=item["what"],
            breaks=item["breaks"],
            caught_by=tuple(item["caught_by"]),
            says=item["says"],
            edits=tuple(Edit(**edit) for edit in item["edit"]),
        )
        for item in document["bug"]
    )
