"""What names a training: the code that it runs, not the words around it."""

import pytest

from stages.study.fingerprint import closure, code_digest, fingerprint


@pytest.fixture
def project(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/a.py").write_text(
        '"""Doc."""\n\nfrom stages.b import f\n\n\ndef g():\n    return f() + 1\n'
    )
    (tmp_path / "stages/b.py").write_text('def f():\n    """Doc."""\n    return 2\n')
    (tmp_path / "stages/c.py").write_text("x = 1\n")
    return tmp_path


def digest(project):
    return code_digest(closure("stages.a", root=project), root=project)


def test_the_closure_is_what_is_imported(project):
    assert [path.as_posix() for path in closure("stages.a", root=project)] == ["stages/a.py", "stages/b.py"]


def test_comments_docstrings_and_layout_do_not_matter_and_code_does(project):
    before = digest(project)
    path = project / "stages/b.py"
    path.write_text('# why\ndef f():\n    """Another\n\n    doc."""\n\n    return  2  # two\n')
    assert digest(project) == before
    path.write_text("def f():\n    return 3\n")
    assert digest(project) != before


def test_code_that_is_not_imported_does_not_matter(project):
    before = digest(project)
    (project / "stages/c.py").write_text("x = 2\n")
    assert digest(project) == before


def test_every_dependency_is_in_the_name():
    assert fingerprint(a=1, b={"c": 2}) == fingerprint(b={"c": 2}, a=1)
    assert len({fingerprint(a=1), fingerprint(a=2), fingerprint(b=1)}) == 3
