"""The contracts of the graph: what a stage depends on is what dvc.yaml says."""

import ast
import graphlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo

from stages.study.fingerprint import WHOLE, closure
from stages.study.lookup import plugins
from stages.study.params import declared_params, load_params
from tests.project import as_dvc_repository, copy_project, environment

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
AUGMENTED = {"linear_augmented": {"arms": ["cl", "mim"]}}


@pytest.fixture(scope="module")
def resolved():
    """Every stage as DVC resolves it."""
    with Repo(str(ROOT)) as repo:
        return {stage.addressing.split(":")[-1]: stage for stage in repo.index.stages}


def dependencies(stage):
    return {Path(dep.fs_path).relative_to(ROOT).as_posix() for dep in stage.deps if dep.hash_name != "params"}


@cache
def closure_of(*modules):
    """What these modules depend on, found once for stages that are alike.

    The check of the whole of params.yaml is none of it: it reads the settings of every room, and a stage
    depends on the values that it declares, and on the settings of those rooms whose code it imports.
    """
    return closure(*modules, root=ROOT, without={WHOLE})


def selection(name, resolved):
    """stage name, {axis: value} of an address such as probe@cl-knn."""
    base, _, item = name.partition("@")
    if "foreach" in STAGES[base]:
        return base, {"arm": item}
    return base, dict(zip(STAGES[base].get("matrix", {}), item.split("-"), strict=item != "" or None))


def test_stages_are_the_files_of_stages():
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert files == set(STAGES)


def test_matrix_over_a_dictionary_gives_one_stage_per_name(resolved):
    params = load_params(ROOT / "params.yaml")
    expected = {f"analyze@{arm}-{analysis}" for arm in params.arms for analysis in params.analyses}
    assert {name for name in resolved if name.startswith("analyze@")} == expected


def test_declared_deps_cover_the_import_closure(resolved):
    params = load_params(ROOT / "params.yaml")
    missing = {}
    for name, stage in resolved.items():
        base, axes = selection(name, resolved)
        modules = [f"stages.{base}"]
        if base == "pretrain":
            modules.append(f"stages.objectives.{params.arms[axes['arm']].objective}")
        if base == "probe":
            modules.append(f"stages.probes.{axes['probe']}")
        if base == "analyze":
            modules.append(f"stages.analyses.{axes['analysis']}")
        if base in ("report", "summary"):  # what the notebooks import
            modules += modules_of("render")
        declared = dependencies(stage)
        lacking = [
            path.as_posix()
            for path in closure_of(*modules)
            if not any(path.as_posix() == dep or path.as_posix().startswith(dep + "/") for dep in declared)
        ]
        if lacking:
            missing[name] = lacking
    assert missing == {}


def test_every_objective_is_covered_whether_an_arm_has_it_or_not():
    deps = STAGES["pretrain"]["do"]["deps"]
    for name in plugins(Path("stages/objectives"), constant="OBJECTIVE"):
        declared = [dep.replace("${item.objective}", name) for dep in deps]
        for path in closure_of("stages.pretrain", f"stages.objectives.{name}"):
            assert any(path.is_relative_to(dep) for dep in declared), f"{name}: {path}"


def test_augmented_probing_is_covered_although_no_arm_has_it():
    deps = STAGES["linear_augmented"]["deps"]
    for path in closure_of("stages.linear_augmented"):
        assert any(path.is_relative_to(dep) for dep in deps), path


def test_the_check_runs_anew_when_any_setting_is_defined_otherwise():
    settings = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("stages/*/settings.py")}
    assert settings - set(STAGES["check"]["deps"]) == {"stages/study/settings.py"}  # a dep with its folder


def test_the_check_runs_where_python_hides_the_working_directory(tmp_path):
    project = as_dvc_repository(copy_project(tmp_path / "project"))
    env = environment() | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run(["dvc", "repro", "check"], cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (project / "results/check.json").is_file()


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh"])
def test_every_stage_starts_in_any_shell(resolved, shell):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not on PATH")
    printer = "printf %s,"
    for stage in resolved.values():
        env = environment() | {
            "PYTHONSAFEPATH": "1",
            "STUDY_PYTHON": printer,
            "STUDY_LAUNCH": f"{printer} launched",
        }
        done = subprocess.run([path, "-c", stage.cmd], env=env, capture_output=True, text=True)
        words = done.stdout.rstrip(",").split(",")
        name = stage.addressing.split(":")[-1].split("@")[0]
        assert words[: 3 if name == "pretrain" else 2] == (
            ["launched", "-m", "stages.pretrain"] if name == "pretrain" else ["-m", f"stages.{name}"]
        )
        assert done.stderr == ""


def test_every_stage_comes_after_the_check():
    with Repo(str(ROOT)) as repo:
        graph = repo.index.graph  # edges point from a stage to what it needs
        check = next(stage for stage in graph if stage.addressing.split(":")[-1] == "check")
        assert networkx.ancestors(graph, check) == set(graph) - {check}


def test_a_list_that_is_empty_leaves_a_stage_away(resolved, tmp_path):
    assert not any(name.startswith("linear_augmented") for name in resolved)
    project = as_dvc_repository(copy_project(tmp_path / "study", changes=AUGMENTED))
    with Repo(str(project)) as repo:
        named = {stage.addressing.split(":")[-1]: stage for stage in repo.index.stages}
        repo.index.check_graph()
        before_summary = set(repo.index.graph.successors(named["summary"]))
    added = {"linear_augmented@cl", "linear_augmented@mim"}
    assert set(named) - set(resolved) == added
    assert {named[name] for name in added} < before_summary
    for name in added:
        arm = name.partition("@")[2]
        keys = [key for dep in named[name].deps if dep.hash_name == "params" for key in dep.params]
        ours = declared_params(
            "linear_augmented", load_params(project / "params.yaml"), project / "dvc.yaml", arm=arm
        )
        assert sorted(keys) == sorted(ours) and not any("arms" in key for key in keys)


def test_the_closure_is_what_python_really_imports():
    code = (
        "import sys, stages.pretrain, stages.objectives.hybrid;"
        "files = [m.__file__ for n, m in sys.modules.items() if n.startswith('stages.')];"
        "print(*[f for f in files if '__init__' not in f])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {Path(path).relative_to(ROOT) for path in done.stdout.split()}
    assert imported == set(closure("stages.pretrain", "stages.objectives.hybrid", root=ROOT))


def test_packages_hold_no_code_that_the_closure_leaves_out():
    holding = [path for path in (ROOT / "stages").rglob("__init__.py") if path.read_text().strip()]
    assert holding == [ROOT / "stages/__init__.py"]  # how a command ends that Ctrl-C meets while it starts
    assert "from stages" not in holding[0].read_text() and "import stages" not in holding[0].read_text()


def test_our_reading_of_the_params_lists_is_that_of_dvc(resolved):
    params = load_params(ROOT / "params.yaml")
    for name, stage in resolved.items():
        base, axes = selection(name, resolved)
        ours = declared_params(base, params, ROOT / "dvc.yaml", **axes)
        theirs = [key for dep in stage.deps if dep.hash_name == "params" for key in dep.params]
        assert sorted(ours) == sorted(theirs), name


def test_runtime_is_in_no_params_list(resolved):
    for name, stage in resolved.items():
        for dep in stage.deps:
            if dep.hash_name == "params":
                assert not any(key.split(".")[0] == "runtime" for key in dep.params), name


FLOORS = (  # each imports from floors before it, and from its own without a circle
    {"settings"},  # see SETTINGS
    {"study"},
    {"data", "encoders", "results", "training"},
    {"analyses", "claims", "corruptions", "objectives", "probes", "render"},
    {"heads", "tracking"},
)


# Below all rooms: what params.yaml may hold. These files import nothing but each other.
SETTINGS = {"settings.py", "section.py", "errors.py", "names.py", "plain.py", "study.py"}


def modules_of(room):
    """Dotted names of the modules of a room."""
    paths = sorted((ROOT / "stages" / room).rglob("[a-z]*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


def rooms_used(root):
    """Every room, and the rooms that its files import themselves; a folder of a room is a room too.

    `render` alone are the files that lie in no folder of it. Stages and tools, which nothing imports, are
    left out.
    """
    used = {}
    for path in sorted((root / "stages").rglob("[a-z]*.py")):
        parts = path.relative_to(root / "stages").parts
        if len(parts) == 1 or parts[0] == "tools":
            continue
        room = "settings" if parts[-1] in SETTINGS else ".".join(parts[:-1])
        others = used.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                module = name.split(".") if name.startswith("stages.") else []
                while module and not (root / "/".join(module)).with_suffix(".py").is_file():
                    module.pop()
                if module:
                    others.add("settings" if f"{module[-1]}.py" in SETTINGS else ".".join(module[1:-1]))
    return {room: others - {room} for room, others in used.items()}


def wrong_imports(root):
    """What goes upwards or round in a circle, in words."""
    level = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    used = rooms_used(root)
    wrong = [
        f"{room} imports {other or 'a stage'}"
        for room, others in used.items()
        for other in sorted(others)
        if level.get(other.split(".")[0], len(FLOORS)) > level[room.split(".")[0]]
    ]
    try:
        graphlib.TopologicalSorter(used).prepare()
    except graphlib.CycleError as error:
        wrong.append(f"circle: {' → '.join(error.args[1])}")
    return wrong


def test_imports_run_downwards_and_not_in_a_circle():
    assert wrong_imports(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("results/seeds.py", "from stages.claims.families import holm", "results imports claims"),
        ("probes/knn.py", "import stages.decide", "probes imports a stage"),
        ("results/seeds.py", "from stages.training import loop", "circle"),  # on one floor
        (
            "render/figures/style.py",
            "from stages.render.page.html_table import table",
            "circle",
        ),  # in one room
        ("render/words.py", "def late():\n    from stages.render.sections import title", "circle"),
    ],
)
def test_an_import_upwards_or_in_a_circle_is_found(tmp_path, file, line, message):
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "stages" / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    if file.startswith("results/") and message == "circle":
        loop = tmp_path / "stages/training/loop.py"
        loop.write_text(f"{loop.read_text()}\nfrom stages.results.files import MissingResult\n")
    assert [item for item in wrong_imports(tmp_path) if item.startswith(message)]


def test_a_stage_depends_on_the_settings_of_those_rooms_alone_whose_code_it_runs():
    rooms = {
        stage: {path.parts[1] for path in closure_of(f"stages.{stage}") if path.name == "settings.py"}
        for stage in ("prepare", "features", "finetune")
    }
    assert rooms == {
        "prepare": {"study", "data"},
        "features": {"study", "encoders"},
        "finetune": {"study", "data", "encoders", "probes", "training"},
    }


def test_settings_are_read_without_torch():
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "stages").glob("*/settings.py")]
    code = (
        f"import sys, {', '.join('.'.join(file.parts) for file in files)}; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert len(files) == 9
