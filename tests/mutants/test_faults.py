"""Every fault that the tool plants is what it says, at one place, and can be planted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faults import Fault, find_again, find_faults, plant, sample

ROOT = Path(__file__).resolve().parents[2]
ALONE = [
    ("x = a < b", "x = a <= b"),
    ("x = a <= b", "x = a < b"),
    ("x = a > b", "x = a >= b"),
    ("x = a >= b", "x = a > b"),
    ("x = a == b", "x = a != b"),
    ("x = a != b", "x = a == b"),
    ("x = a in b", "x = a not in b"),
    ("x = a not in b", "x = a in b"),
    ("x = a is b", "x = a is not b"),
    ("x = a is not b", "x = a is b"),
    ("x = a + b", "x = a - b"),
    ("x = a - b", "x = a + b"),
    ("x = a * b", "x = a / b"),
    ("x = a / b", "x = a * b"),
    ("x = a // b", "x = a * b"),
    ("x = a % b", "x = a * b"),
    ("x = a ** b", "x = a "),
    ("x = (a) ** (b)", "x = (a) "),
    ("x += a", "x -= a"),
    ("x //= a", "x *= a"),
    ("x = -a", "x = a"),
    ("x = not a", "x = a"),
    ("x = not(a)", "x = (a)"),
    ("x = a and b", "x = a or b"),
    ("x = a or b", "x = a and b"),
    ("x = 7", "x = 8"),
    ("x = 0.5", "x = 1.5"),
    ("x = 1e30", "x = 2e+30"),
    ("x = True", "x = False"),
    ("x = False", "x = True"),
    ("x = min(a)", "x = max(a)"),
    ("x = a.max(b)", "x = a.min(b)"),
    ("x = a.sum()", "x = a.mean()"),
    ("x = a.b(\n c).mean()", "x = a.b(\n c).sum()"),
    ("x = [a for a in b if c]", "x = [a for a in b if not (c)]"),
    ("x = a if (b) else c", "x = a if (not (b)) else c"),
    ("if (a): b = c", "if (not (a)): b = c"),
    ("if a is b: b = c", "if a is not b: b = c"),
    ("if not a: b = c", "if a: b = c"),
    ("a(b)", "pass"),
    ("for a in b: break", "for a in b: continue"),
    ("for a in b: continue", "for a in b: break"),
    ("def f() -> int: return a", "def f() -> int: return None"),
    ("def f() -> bool: return False", "def f() -> bool: return True"),
    ("x = ((a)  # a < b\n  < (b))", "x = ((a)  # a < b\n  <= (b))"),
    ("x = (a not  # so\n in b)", "x = (a in b)"),
    ("δ = 'Σ', α + β", "δ = 'Σ', α - β"),
    ("δ = 'Σ', α.sum()", "δ = 'Σ', α.mean()"),
    ("if TYPE_CHECKING: x = 1\nelse: x = 2", "if TYPE_CHECKING: x = 1\nelse: x = 3"),
    ("@a(1)\ndef f(x: T[1] = 2) -> T[3]: ...", "@a(1)\ndef f(x: T[1] = 3) -> T[3]: ..."),
]
NOTHING = [
    *('"""A text: 1 + 2."""', "import a", "from a import b", "x: A[1]", "x = Literal[1, 2]"),
    *("__all__ = [a(1)]", "raise E(1 + 2)", "print(1)", "_log.info(1)", "logging.x.info(1)"),
    *("console.print(a < b)", "x = f'{a + 1}'", "x = 'a' + b + c", "x = [a] * b", "x = a | b"),
    *("def f() -> None: return a", "def f() -> A: return None", "def f(): return a"),
    *("class A(B, total=True): ...", "if TYPE_CHECKING: x = 1", "if __name__ == 'x': a(1)"),
]
SEVERAL = """\
def f(x: int = 1) -> int:  # ρ
    if x < 2 and not x: g(x)
    return max(x, -3)
"""


def planted(text: str) -> list[str]:
    return [plant(text, fault) for fault in find_faults("a.py", text)]


@pytest.mark.parametrize(("text", "faulty"), ALONE)
def test_each_fault_is_what_it_says(text: str, faulty: str) -> None:
    assert planted(text) == [faulty]


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_tells_people_or_types_is_left_alone(text: str) -> None:
    assert planted(text) == []


def test_faults_come_in_the_order_of_the_source() -> None:
    found = find_faults("a.py", SEVERAL)
    assert [(one.line, one.column, one.what) for one in found] == [
        (1, 16, "`1` becomes `2`"),
        (2, 8, "condition negated"),
        (2, 10, "`<` becomes `<=`"),
        (2, 12, "`2` becomes `3`"),
        (2, 14, "`and` becomes `or`"),
        (2, 18, "`not` left out"),
        (2, 25, "call of `g` left out"),
        (3, 12, "`max` becomes `min`"),
        (3, 12, "returns None"),
        (3, 19, "`-` left out"),
        (3, 20, "`3` becomes `4`"),
    ]
    assert found[2].name == "a.py:2:10 `<` becomes `<=`"


def test_a_fault_is_not_planted_in_another_text() -> None:
    (fault,) = find_faults("a.py", "x = a + b")
    with pytest.raises(ValueError, match="there stands '-'"):
        plant("x = a - b", fault)


@pytest.mark.parametrize("path", ["refkd/distill/extrospect.py", "tune/study/lease.py"])
def test_every_fault_of_the_project_compiles_and_differs_at_its_place_alone(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = find_faults(path, text)
    assert len(found) > 50
    assert len({(fault.line, fault.column, fault.new) for fault in found}) == len(found)
    for fault in found:
        faulty = plant(text, fault)
        before = text.split("\n")[: fault.line - 1]
        assert faulty.split("\n")[: fault.line - 1] == before
        after = text.split("\n")[fault.end_line :]
        assert faulty.split("\n")[len(faulty.split("\n")) - len(after) :] == after
        assert len(faulty) - len(text) == len(fault.new) - len(fault.old)


def copied(folder: Path, paths: list[str]) -> Path:
    """Copy files of the project, the last first: another order in another folder."""
    for path in reversed(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


def test_a_sample_is_the_same_for_the_same_seed_wherever_the_checkout_lies(tmp_path: Path) -> None:
    paths = ["refkd/files.py", "refkd/seeds.py", "tune/study/lease.py"]
    drawn = sample(ROOT, ["refkd/files.py", "tune/study"], 12, 0)
    assert drawn == sample(ROOT, ["refkd/files.py", "tune/study"], 12, 0)
    assert drawn != sample(ROOT, ["refkd/files.py", "tune/study"], 12, 1)
    assert [path for path, _ in drawn] == ["refkd/files.py", "tune/study"] * 6
    assert len(set(drawn)) == 12
    one, two = copied(tmp_path / "a", paths), copied(tmp_path / "b", paths[::-1])
    assert sample(one, ["refkd", "tune"], 9, 0) == sample(two, ["refkd", "tune"], 9, 0)


def test_a_path_that_is_used_up_leaves_its_turns_to_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("x = [1, 2, 3]\n")
    drawn = sample(tmp_path, ["a.py", "b.py", "."], 10, 0)
    assert [path for path, _ in drawn][:2] == ["a.py", "b.py"]
    assert len({fault for _, fault in drawn}) == len(drawn) == 4


def test_a_fault_is_found_again_where_its_line_has_moved() -> None:
    (wanted,) = find_faults("a.py", "x = a + b")
    moved = find_faults("a.py", "if c == d:\n    x = a + b\n\ny = a + b\nx = a + b\n")
    again = find_again(wanted, moved)
    assert isinstance(again, Fault)
    assert (again.line, again.column) == (2, 11)
    assert find_again(wanted, find_faults("a.py", "x = a + c")) is None
