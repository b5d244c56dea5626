"""Faults to plant in the project's sources, one at a time: where, and what becomes of the text."""

from __future__ import annotations

import ast
import io
import itertools
import random
import tokenize
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

COMPARED = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    **{"in": "not in", "not in": "in", "is": "is not", "is not": "is"},
}
COMPUTED = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*"}
ASSIGNED = {f"{old}=": f"{new}=" for old, new in COMPUTED.items()}
COMBINED = {"and": "or", "or": "and"}
CALLED = {"min": "max", "max": "min"}
METHODS = {**CALLED, "sum": "mean", "mean": "sum"}
OPPOSITE = ast.Eq | ast.NotEq | ast.In | ast.NotIn | ast.Is | ast.IsNot  # codespell:ignore
"""Comparisons whose neighbour is their negation already."""
LOGGERS = {"logging", "logger", "_log"}
_UNSEEN = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Fault:
    """A piece of a source file and the text that takes its place.

    Lines and columns count from 1, columns in characters; `end_column` is the one behind the last.
    """

    path: str
    """Relative to the checkout, with `/`."""
    line: int
    column: int
    end_line: int
    end_column: int
    old: str
    new: str
    what: str
    source: str
    """The line where it begins, as it stands in the file."""

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.path}:{self.line}:{self.column} {self.what}"

    @property
    def key(self) -> tuple[object, ...]:
        """What stays the same where the line has moved or is indented anew."""
        indent = len(self.source) - len(self.source.lstrip())
        return (self.path, self.source.strip(), self.column - indent, self.old, self.new)

    @property
    def told(self) -> str:
        """How `equivalent.txt` names it: without numbers of lines, which change."""
        return f"{self.path} {self.what} | {self.source.strip()}"


def find_faults(path: str, text: str) -> list[Fault]:
    """Return the faults that can be planted in a Python text, in the order of the source."""
    source = _Source(path, text)
    nodes = _walk(ast.parse(text), returns=False)
    return sorted({fault for node, returns in nodes for fault in source.faults(node, returns)})


def plant(text: str, fault: Fault) -> str:
    """Return the text with the fault; it differs at that one place, and compiles."""
    source = _Source(fault.path, text)
    first = source.offset(fault.line, fault.column)
    last = source.offset(fault.end_line, fault.end_column)
    if text[first:last] != fault.old:
        raise ValueError(f"{fault.name}: there stands {text[first:last]!r}")
    planted = text[:first] + fault.new + text[last:]
    compile(planted, fault.path, "exec", dont_inherit=True)
    return planted


def source_files(root: Path, path: str) -> list[str]:
    """Return the Python files at or below a path of a checkout, sorted by name."""
    found = [root / path] if (root / path).is_file() else (root / path).rglob("*.py")
    names = sorted(file.relative_to(root).as_posix() for file in found)
    if not names:
        raise FileNotFoundError(f"{path}: no Python file there")
    return names


def faults_of(root: Path, path: str) -> list[Fault]:
    """Return all faults of a file, or of the files below a folder."""
    files = source_files(root, path)
    return [
        fault
        for file in files
        for fault in find_faults(file, (root / file).read_text(encoding="utf-8"))
    ]


def sample(root: Path, paths: Sequence[str], number: int, seed: int) -> list[tuple[str, Fault]]:
    """Return faults, each with the path that it stands for, drawn from the paths in turns.

    The order within a path depends on its files and on the seed, not on the other paths.
    """
    drawn = []
    for path in paths:
        faults = faults_of(root, path)
        random.Random(f"{seed} {path}").shuffle(faults)
        drawn.append([(path, fault) for fault in faults])
    turns = (one for turn in itertools.zip_longest(*drawn) for one in turn if one)
    chosen: dict[Fault, tuple[str, Fault]] = {}
    for path, fault in turns:
        chosen.setdefault(fault, (path, fault))
    return list(chosen.values())[:number]


def find_again(wanted: Fault, among: Iterable[Fault]) -> Fault | None:
    """Return the same fault in another state of its file: of those alike the nearest."""
    alike = [fault for fault in among if fault.key == wanted.key]
    return min(alike, key=lambda fault: abs(fault.line - wanted.line), default=None)


class _Source:
    """A source text whose places are offsets, and lines with columns."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._text = text
        self._lines = text.split("\n")
        ends = itertools.accumulate(len(line) + 1 for line in self._lines)
        self._starts = [0, *ends]
        self._tokens = [
            (self.offset(one.start[0], one.start[1] + 1), one.string)
            for one in tokenize.generate_tokens(io.StringIO(text).readline)
            if one.type not in _UNSEEN
        ]

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and a column, both from 1."""
        return self._starts[line - 1] + column - 1

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the offsets of a node, whose own columns are bytes of UTF-8."""
        first, last = (
            self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())
            for line, column in (
                (node.lineno, node.col_offset),
                (node.end_lineno or 0, node.end_col_offset or 0),
            )
        )
        return first, last

    def _fault(self, first: int, last: int, new: str, what: str = "") -> Fault:
        old = self._text[first:last]
        short = " ".join(old.split())
        what = what or (f"`{short}` becomes `{new}`" if new else f"`{short}` left out")
        start, end = self._place(first), self._place(last)
        return Fault(self._path, *start, *end, old, new, what, self._lines[start[0] - 1])

    def faults(self, node: ast.AST, returns: bool) -> Iterator[Fault]:
        """Yield what can be planted at a node, in a function that returns something or not."""
        match node:
            case ast.Compare(left=left, comparators=others):
                yield from self._swaps([left, *others], COMPARED)
            case ast.BoolOp(values=values):
                yield from self._swaps(values, COMBINED)
            case ast.BinOp(op=ast.Pow()):
                first, _, _ = self._operator(node.left, node.right)
                yield self._fault(first, self._span(node)[1], "")
            case ast.BinOp() if not _is_sequence(node):
                yield from self._swaps([node.left, node.right], COMPUTED)
            case ast.AugAssign() if not _is_sequence(node.value):
                yield from self._swaps([node.target, node.value], ASSIGNED)
            case ast.UnaryOp(op=ast.USub() | ast.Not()):
                first = self._span(node)[0]
                sign = "-" if isinstance(node.op, ast.USub) else "not"
                blank = self._text[first + len(sign)] == " "
                yield self._fault(first, first + len(sign) + blank, "")
            case ast.Constant(value=bool() as value):
                yield self._fault(*self._span(node), str(not value))
            case ast.Constant(value=int() | float() as value):
                more = value + 1 if value + 1 != value else value * 2
                yield self._fault(*self._span(node), repr(more))
            case ast.Call(func=ast.Name(id=name)) if name in CALLED:
                yield self._fault(*self._span(node.func), CALLED[name])
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                last = self._span(node.func)[1]
                yield self._fault(last - len(name), last, METHODS[name])
            case (
                ast.Expr(value=ast.Call() as call)
                | ast.Expr(value=ast.Await(value=ast.Call() as call))
            ) if not _only_tells(call):
                called = " ".join(ast.unparse(call.func).split())
                yield self._fault(*self._span(node), "pass", f"call of `{called}` left out")
            case ast.Return(value=ast.expr() as value) if returns and not _is_falsy(value):
                yield self._fault(*self._span(value), "None", "returns None")
            case ast.Break():
                yield self._fault(*self._span(node), "continue")
            case ast.Continue():
                yield self._fault(*self._span(node), "break")
            case ast.If(test=test) if not _is_for_tools(test):
                yield from self._negated(test)
            case ast.IfExp(test=test):
                yield from self._negated(test)
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield from self._negated(test)

    def _swaps(self, operands: list[ast.expr], table: dict[str, str]) -> Iterator[Fault]:
        for left, right in itertools.pairwise(operands):
            first, last, operator = self._operator(left, right)
            if operator in table:
                yield self._fault(first, last, table[operator])

    def _operator(self, left: ast.expr, right: ast.expr) -> tuple[int, int, str]:
        """Return span and text of what stands between two operands and their parentheses."""
        low, high = (
            bisect_left(self._tokens, (offset, ""))
            for offset in (self._span(left)[1], self._span(right)[0])
        )
        found = [token for token in self._tokens[low:high] if token[1] not in ("(", ")")]
        last, text = found[-1]
        return found[0][0], last + len(text), " ".join(token[1] for token in found)

    def _negated(self, test: ast.expr) -> Iterator[Fault]:
        match test:
            case ast.Compare(ops=[op]) if isinstance(op, OPPOSITE):
                return
            case ast.UnaryOp(op=ast.Not()) | ast.Constant():
                return
        first, last = self._span(test)
        yield self._fault(first, last, f"not ({self._text[first:last]})", "condition negated")


def _walk(node: ast.AST, *, returns: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the nodes where faults may be, and whether their function returns something."""
    yield node, returns
    if isinstance(node, _Function):
        returns = not (node.returns is None or ast.unparse(node.returns) == "None")
    for child in _children(node):
        yield from _walk(child, returns=returns)


def _children(node: ast.AST) -> Iterable[ast.AST]:
    """Return the parts of a node but annotations, decorators and what only tells people."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            return [*(default for default in defaults if default), *node.body]
        case ast.ClassDef():
            return node.body
        case ast.AnnAssign():
            return [node.value] if node.value else []
        case ast.If(test=test) if _is_for_tools(test):
            return node.orelse
        case ast.Call() if _only_tells(node):
            return []
        case ast.Raise() | ast.Assign(targets=[ast.Name(id="__all__")]):
            return []
        case ast.Subscript(value=ast.Name(id="Literal" | "Annotated")):
            return []
        case ast.JoinedStr():  # whose parts have no true places before Python 3.12
            return []
    return ast.iter_child_nodes(node)


def _only_tells(call: ast.Call) -> bool:
    """Whether a call only logs or prints."""
    *owners, name = ast.unparse(call.func).split(".")
    return name == "print" or not LOGGERS.isdisjoint(owners)


def _is_for_tools(test: ast.expr) -> bool:
    """Whether a condition asks for a type checker, or for a start as a program."""
    words = ast.unparse(test)
    return words.endswith("TYPE_CHECKING") or "__name__" in words


def _is_sequence(node: ast.expr) -> bool:
    """Whether a value is plainly a text or a list, where other arithmetic fails at once."""
    match node:
        case ast.BinOp(left=left, right=right):
            return _is_sequence(left) or _is_sequence(right)
        case ast.Constant(value=str() | bytes()) | ast.JoinedStr():
            return True
    return isinstance(node, ast.List | ast.Tuple | ast.ListComp)


def _is_falsy(node: ast.expr) -> bool:
    """Whether a value is None, or False: None is as false, and True is planted there anyway."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)
