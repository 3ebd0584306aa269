"""Small bugs for a source file, each one change of its text with a name that stays the same.

Neither names of prose nor messages are changed: strings with a space, f-strings and what is inside ``raise``
say something to people. A mutant's number counts within its function and kind, so that a change elsewhere in
the file renumbers nothing.
"""

import ast
import difflib
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_SWAPPED = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
}
_DROPPED = ("lower", "strip", "absolute", "expanduser")  # methods that return their own object, cleaned
_SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change: the bytes from ``start`` to ``end`` of a file become ``new``."""

    id: str
    file: str
    function: str  # qualified, "" for the module itself
    line: int
    lines: range  # of the statement's own head: who runs one of these may notice
    is_inside: bool  # of a function's body: its code may be exchanged without importing anything again
    start: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        """Return the file's text with the change."""
        data = text.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()

    def diff(self, text: str) -> str:
        """Return the change as a unified diff without context."""
        pair = (text.splitlines(), self.applied(text).splitlines())
        return "\n".join(list(difflib.unified_diff(*pair, self.file, self.file, n=0, lineterm=""))[2:])


def mutants_of(file: str, text: str) -> list[Mutant]:
    """Return all mutants of a file, in the order of its text."""
    finder = _Finder(file, text)
    finder.visit(ast.parse(text))
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, text: str) -> None:
        self.found: list[Mutant] = []
        self._file = file
        self._starts = [0]
        for line in text.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._data = text.encode()
        self._numbers: Counter[str] = Counter()
        self._seen: set[tuple[int, int, str]] = set()
        self._names: list[str] = []
        self._function = ""  # the outermost one, whose code object holds those inside it
        self._lines = range(0)

    # where we are

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            self._lines = _head(node)
        super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._names.append(node.name)
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        outermost = not self._function
        if outermost:
            self._function = ".".join(self._names)
        for statement in node.body:
            self.visit(statement)
        if outermost:
            self._function = ""
        self._names.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._names.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._names.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """An f-string is a message."""

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring, or the dots of a protocol
            self._statement(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._mutate("statement", node, "pass")

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, _SIMPLE):
            self._statement(node)
            return
        for kind, part, new in _parts(node):
            self._mutate(kind, part, new)
        for kind, new in _mutations(node):
            if self._function or not (
                kind == "arithmetic" and isinstance(getattr(node, "op", None), ast.BitOr)
            ):
                self._mutate(kind, node, new)
        super().generic_visit(node)

    def _statement(self, node: ast.AST) -> None:
        """Take out a statement, unless names that others read come from it."""
        named = isinstance(node, ast.Assign) and any(isinstance(item, ast.Name) for item in node.targets)
        if not named and self._function:
            self._mutate("statement", node, "pass")
        super().generic_visit(node)

    def _mutate(self, kind: str, node: Any, new: str) -> None:
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        if (start, end, new) in self._seen or self._data[start:end].decode() == new:
            return
        self._seen.add((start, end, new))
        place = ":".join((self._file.rpartition("/")[2].removesuffix(".py"), ".".join(self._names), kind))
        self._numbers[place] += 1
        self.found.append(
            Mutant(
                id=f"{place}:{self._numbers[place]}",
                file=self._file,
                function=self._function or ".".join(self._names),
                line=node.lineno,
                lines=self._lines,
                is_inside=bool(self._function),
                start=start,
                end=end,
                new=new,
            )
        )


def _head(node: Any) -> range:
    """Return the lines of a statement without those of the statements inside it."""
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if body else node.end_lineno
    return range(node.lineno, max(last, node.lineno) + 1)


def _parts(node: ast.AST) -> Iterator[tuple[str, Any, str]]:
    """Yield kind, place and new text of a part that alone has a place in the text."""
    if isinstance(node, ast.If):
        yield "branch", node.test, "True"
    if isinstance(node, ast.If | ast.While):
        yield "branch", node.test, "False"
    if isinstance(node, ast.comprehension):
        yield from (("branch", test, "True") for test in node.ifs)
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        yield "handler", node.type, "()"  # catches nothing


def _mutations(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield kind and new text of what may become of an expression or of the test of a statement."""
    for kind, find in _KINDS:
        for changed in find(node):
            text = changed if isinstance(changed, str) else ast.unparse(changed)
            yield kind, text if kind == "return" else f"({text})"


def _compare(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _COMPARED[type(operator)]:
                changed = deepcopy(node)
                changed.ops[place] = other()
                yield changed


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and type(node.op) in _COUNTED:
        yield ast.BinOp(left=node.left, op=_COUNTED[type(node.op)](), right=node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand


def _boolean(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(op=other, values=node.values)
        for place in range(len(node.values)):
            kept = [item for number, item in enumerate(node.values) if number != place]
            yield kept[0] if len(kept) == 1 else ast.BoolOp(op=node.op, values=kept)


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Attribute) and node.attr == "inf":
        yield ast.Constant(0.0)
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and " " not in value:
        yield ast.Constant(value + "XX")
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"XX")


def _branch(node: ast.AST) -> Iterator[str | ast.AST]:
    if isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse


def _argument(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    for place, argument in enumerate(node.args):
        if not isinstance(argument, ast.Starred | ast.Constant | ast.GeneratorExp | ast.JoinedStr):
            changed = deepcopy(node)
            changed.args[place] = ast.Constant(None)
            yield changed
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None and keyword.arg != "because":  # a message
            changed = deepcopy(node)
            del changed.keywords[place]
            yield changed


def _name(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if called in _SWAPPED:
        changed = deepcopy(node)
        setattr(changed.func, "id" if isinstance(node.func, ast.Name) else "attr", _SWAPPED[called])
        yield changed
    if called in _DROPPED and isinstance(node.func, ast.Attribute) and not node.args:
        yield node.func.value


def _return(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node) != "return None":
        yield "return None"


def _lambda(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Lambda):
        yield ast.Lambda(args=node.args, body=ast.Constant(None))


_KINDS = (
    ("compare", _compare),
    ("arithmetic", _arithmetic),
    ("boolean", _boolean),
    ("constant", _constant),
    ("branch", _branch),
    ("argument", _argument),
    ("name", _name),
    ("return", _return),
    ("lambda", _lambda),
)
