"""What names a training: the code that it runs, wherever that lies and whatever words are around it."""

import pytest

from stages.study.fingerprint import closure, code_digest, definitions, fingerprint

A = '''"""Doc."""

import numpy as np

from stages import c
from stages.b import Shape, f as twice
from stages.study.errors import StudyError

FACTOR = 3


def g(x: int) -> int:
    """Doc."""
    if x < 0:
        raise StudyError(f"x is {x}")
    print("working")
    total = sum(part for part in range(x))
    np.add(total, x)
    return FACTOR * twice(x) + c.h(x) + Shape(x).area()


def unused(x):
    return x
'''
B = '''from stages.base import Base


def f(x):
    """Doc."""
    return 2 * x


class Shape(Base):
    side: int = 1

    def area(self):
        return self.side**2
'''


@pytest.fixture
def project(tmp_path):
    (tmp_path / "stages/study").mkdir(parents=True)
    (tmp_path / "stages/a.py").write_text(A)
    (tmp_path / "stages/b.py").write_text(B)
    (tmp_path / "stages/c.py").write_text("def h(x):\n    return x\n\n\ndef other(x):\n    return -x\n")
    (tmp_path / "stages/base.py").write_text(
        "class Base:\n    def __init__(self, side):\n        self.side = side\n"
    )
    (tmp_path / "stages/study/errors.py").write_text("class StudyError(Exception):\n    pass\n")
    return tmp_path


def digest(project):
    return code_digest("stages.a.g", root=project)


def replace(project, name, old, new):
    path = project / "stages" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_closure_of_modules_is_what_is_imported(project):
    names = [path.as_posix() for path in closure("stages.a", root=project)]
    assert names == ["stages/a.py", "stages/b.py", "stages/base.py", "stages/c.py", "stages/study/errors.py"]


def test_definitions_are_followed_through_names_attributes_and_bases(project):
    assert definitions("stages.a.g", root=project) == {
        *("stages.a.FACTOR", "stages.a.g", "stages.b.Shape", "stages.b.f", "stages.base.Base", "stages.c.h"),
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.py", "    print(", "    # why\n    print("),
        ("a.py", '"""Doc."""\n    if', '"""Another\n\n    doc."""\n\n    if'),
        ("a.py", '"working"', '"still at work"'),
        ("a.py", 'f"x is {x}"', 'f"x is {x}; set 0 or more"'),
        ("a.py", "x: int) -> int", "x: float) -> float"),
        ("a.py", "return x\n", "return x + 1\n"),  # of a function that is not used
        ("c.py", "return -x", "return x"),
        ("c.py", "def other", "class New:\n    pass\n\n\ndef other"),
        ("b.py", "return 2 * x", "return 2  *  x"),
        ("b.py", "def f(x)", "@singledispatch\ndef f(x)"),
        ("a.py", "import numpy as np\n", "import numpy as np\nimport torch\n"),
        ("a.py", "total", "result"),  # a local variable
        ("a.py", "part", "number"),  # of a comprehension
    ],
)
def test_what_computes_nothing_does_not_count(project, name, old, new):
    before = digest(project)
    replace(project, name, old, new)
    assert digest(project) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.py", "FACTOR = 3", "FACTOR = 4"),
        ("a.py", "x < 0", "x < 1"),
        ("a.py", "c.h(x)", "c.other(x)"),
        ("a.py", "np.add(total, x)", "np.add(x, total)"),
        ("a.py", "sum(part for", "max(part for"),  # a builtin is no local variable
        ("a.py", "np.add(", "np.subtract("),
        ("a.py", "total", "part"),  # one name for two variables: counted, to be on the safe side
        ("b.py", "2 * x", "3 * x"),
        ("b.py", "side: int = 1", "side: int = 2"),
        ("b.py", "self.side**2", "self.side**3"),
        ("base.py", "= side", "= side + 1"),
        ("c.py", "    return x\n", "    return 2 * x\n"),
    ],
)
def test_what_computes_counts_wherever_it_lies(project, name, old, new):
    before = digest(project)
    replace(project, name, old, new)
    assert digest(project) != before


def test_code_that_moves_keeps_its_digest(project):
    before = digest(project)
    replace(project, "c.py", "def h(x):\n    return x\n\n\n", "from stages.room.new import h\n\n\n")
    (project / "stages/room").mkdir()
    (project / "stages/room/new.py").write_text('"""New."""\n\n\ndef h(x):\n    return x\n')
    replace(project, "b.py", 'def f(x):\n    """Doc."""\n    return 2 * x\n\n\n', "")
    (project / "stages/room/other.py").write_text("def f(x):\n    return 2 * x\n")
    replace(project, "a.py", "from stages.b import Shape, f as twice",
            "from stages.b import Shape\nfrom stages.room.other import f as twice")  # fmt: skip
    assert digest(project) == before


def test_settings_are_values_and_no_code(project):
    before = digest(project)
    (project / "stages/room").mkdir()
    (project / "stages/room/settings.py").write_text("class Contrastive:\n    momentum: float = 0.99\n")
    replace(project, "a.py", "FACTOR = 3", "from stages.room.settings import Contrastive\n\nFACTOR = 3")
    replace(project, "a.py", 'print("working")', "print(Contrastive)")
    assert digest(project) == before


def test_an_entry_that_does_not_exist_is_an_error(project):
    with pytest.raises(KeyError, match="defines no nothing"):
        code_digest("stages.a.nothing", root=project)


def test_every_dependency_is_in_the_name():
    assert fingerprint(a=1, b={"c": 2}) == fingerprint(b={"c": 2}, a=1)
    assert len({fingerprint(a=1), fingerprint(a=2), fingerprint(b=1)}) == 3
