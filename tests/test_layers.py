"""The import arrows: scripts -> envs, adv_training -> l2l_gail -> l2l_gail.core, never back."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("l2l_gail", "envs", "adv_training")
FILES = {"l2l_gail.checks", "l2l_gail.errors", "l2l_gail.files"}
"""What all else stands on: the standard library, torch and numpy, and nothing above it."""
SMALL = {
    *FILES,
    *(
        "l2l_gail.runs",
        "l2l_gail.checkpoints",
        "l2l_gail.cli",
        "l2l_gail.devices",
        "l2l_gail.version",
        "l2l_gail.averaging",
    ),
    *("l2l_gail.experiment", "l2l_gail.finding_scripts", "l2l_gail.jobs", "l2l_gail.progress"),
    *("l2l_gail.run_flags", "l2l_gail.own_modules"),
    *("l2l_gail.startup", "l2l_gail.stopping", "l2l_gail.streams", "l2l_gail.event_files"),
    *("l2l_gail.going_on", "l2l_gail.text_table"),
}
"""Modules beside the core that need neither Stable-Baselines3 nor MuJoCo."""


def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at its top or inside a function."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no sources"
    return found


def breaches(paths: list[Path], allowed) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if not allowed(name)
    ]


def is_ours(name: str) -> bool:
    return name.split(".")[0] in PACKAGES


def is_part_of(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_reader_of_imports_sees_every_form(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "envs" / "sub").mkdir(parents=True)
    path = tmp_path / "envs" / "sub" / "module.py"
    path.write_text("import a.b\nfrom c import d\nfrom . import e\ndef f():\n from ..g import h\n")
    assert imports(path) == {"a.b", "c", "c.d", "envs.sub", "envs.sub.e", "envs.g", "envs.g.h"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(paths: list[Path]) -> dict[str, set[str]]:
    """Return which modules of ours each module imports: at its top, in functions, for types."""
    modules = {module_of(path) for path in paths}
    found = {}
    for path in paths:
        own, names = module_of(path), imports(path)
        targets = {name for name in names if name in modules}
        # Of `from package import module` only the module counts, of other names the package.
        longer = {name.rpartition(".")[0] for name in targets}
        plain = {name.rpartition(".")[0] for name in names - modules}
        found[own] = (targets - (longer - plain)) - {own}
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules that can be reached from themselves, in groups that reach each other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - seen
            seen |= new
            ahead += new
        return seen

    reach = {module: reached(module) for module in graph}
    groups = {
        tuple(sorted(other for other in reach[module] if module in reach[other]))
        for module in graph
        if module in reach[module]
    }
    return [" <-> ".join(group) for group in sorted(groups)]


def test_the_search_for_circles_finds_them_also_inside_functions_and_types(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "envs").mkdir()
    for name, text in {
        "__init__": "from .a import A\n",
        "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from .b import B\n",
        "b": "def f():\n from . import c\n",
        "c": "from envs.a import A\n",
        "d": "from . import a\n",
        "e": "from . import something\n",
    }.items():
        (tmp_path / "envs" / f"{name}.py").write_text(text)
    graph = arrows(sources("envs"))
    assert graph["envs.d"] == {"envs.a"}
    assert graph["envs.e"] == {"envs"}
    assert circles(graph) == ["envs.a <-> envs.b <-> envs.c"]


def test_no_module_of_the_repository_imports_itself_by_way_of_others() -> None:
    paths = [path for package in PACKAGES for path in sources(package)]
    graph = arrows([*paths, ROOT / "train_gail.py", ROOT / "train_cifar.py"])
    assert graph["train_gail"] > {"envs"}
    assert not circles(graph)


def test_no_folder_of_the_library_imports_itself_by_way_of_others() -> None:
    """But for commands: `python -m l2l_gail.demos record` is a command of what stands above."""
    paths = [path for path in sources("l2l_gail") if path.name != "__main__.py"]
    folders = {module_of(path) for path in paths if path.name == "__init__.py"} - {"l2l_gail"}

    def folder_of(module: str) -> str:
        above = module.rpartition(".")[0]
        return above if above in folders else module

    graph: dict[str, set[str]] = {}
    for module, targets in arrows(paths).items():
        own = folder_of(module)
        graph.setdefault(own, set()).update({folder_of(target) for target in targets} - {own})
    assert {"l2l_gail.gail", "l2l_gail.demos"} <= graph["l2l_gail.recording"]
    assert not circles(graph)


def test_ppo_knows_nothing_of_the_library_but_errors_and_what_observations_are() -> None:
    known = ("l2l_gail.ppo", "l2l_gail.errors", "l2l_gail.observations")
    assert not breaches(
        sources("l2l_gail/ppo"), lambda name: not is_ours(name) or is_part_of(name, *known)
    )
    assert not breaches([ROOT / "l2l_gail" / "observations.py"], lambda name: not is_ours(name))


def test_the_core_imports_torch_and_what_reads_files() -> None:
    assert not breaches(
        sources("l2l_gail/core"),
        lambda name: (
            name.split(".")[0] in {*sys.stdlib_module_names, "torch"}
            or is_part_of(name, "l2l_gail.core", *FILES)
        ),
    )


def test_what_reads_files_knows_nothing_of_the_library() -> None:
    assert not breaches(
        sources("l2l_gail/files"),
        lambda name: (
            name.split(".")[0] in {*sys.stdlib_module_names, "torch", "numpy"}
            or is_part_of(name, *FILES)
        ),
    )


def test_the_library_imports_neither_envs_nor_adv_training() -> None:
    assert not breaches(
        sources("l2l_gail"),
        lambda name: (
            not is_part_of(name, "envs", "adv_training", "l2l_gail.envs", "l2l_gail.adv_training")
        ),
    )


def test_adv_training_stands_on_the_core_and_the_small_modules() -> None:
    assert not breaches(
        sources("adv_training"),
        lambda name: not is_ours(name) or is_part_of(name, "adv_training", "l2l_gail.core", *SMALL),
    )


def test_envs_does_not_know_adv_training() -> None:
    assert not breaches(
        sources("envs"), lambda name: not is_part_of(name, "adv_training", "train_gail")
    )


@pytest.mark.parametrize("folder", ["envs", "adv_training"])
def test_packages_that_a_wheel_renames_import_themselves_relatively(folder: str) -> None:
    absolute = []
    for path in sources(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            absolute += [f"{path.name}: {name}" for name in names if is_part_of(name, folder)]
    assert not absolute


def test_train_gail_knows_nothing_of_adversarial_training() -> None:
    script = [ROOT / "train_gail.py"]
    assert not breaches(script, lambda name: not is_part_of(name, "adv_training", "train_cifar"))


def test_train_cifar_knows_nothing_of_imitation() -> None:
    imitation = ("envs", "train_gail", "l2l_gail.gail", "l2l_gail.demos", "stable_baselines3")
    script = [ROOT / "train_cifar.py"]
    assert not breaches(script, lambda name: not is_part_of(name, *imitation))


@pytest.mark.slow
def test_stepping_environments_loads_neither_sb3_nor_tensorboard_nor_matplotlib() -> None:
    probe = """if True:
        import sys, envs
        envs.make("Hopper-v5", 2, "cpu").reset()
        loaded = {name.split(".")[0] for name in sys.modules}
        print(sorted(loaded & {"stable_baselines3", "tensorboard", "matplotlib", "warp"}))
        print(sorted({"SB3VecEnv", "GymVectorEnv", "make_vec"} & set(dir(envs))))
        print(envs.SB3VecEnv.__name__, envs.make_vec.__name__, envs.GymVectorEnv.__name__)
    """
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "[]",
        "['GymVectorEnv', 'SB3VecEnv', 'make_vec']",
        "SB3VecEnv make_vec GymVectorEnv",
    ]


def test_a_name_that_envs_does_not_have_is_an_attribute_error() -> None:
    import envs

    with pytest.raises(AttributeError, match="module 'envs' has no attribute 'make_vecs'"):
        _ = envs.make_vecs


def test_what_starts_processes_does_not_wait_for_torch() -> None:
    """Each process of a sweep loads it again, before it has read what it is to do."""
    probe = "import sys, l2l_gail.jobs, l2l_gail.cli; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "False\n", said.stderr


@pytest.mark.slow
def test_adversarial_training_loads_neither_sb3_nor_mujoco() -> None:
    """Nor do modules that it shares with imitation; all in one process, for the time it takes."""
    modules = "l2l_gail, l2l_gail.core, l2l_gail.runs, l2l_gail.cli, adv_training, train_cifar"
    probe = (
        f"import sys, {modules}\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'stable_baselines3', 'mujoco', 'gymnasium'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_public_names_come_on_first_use() -> None:
    import l2l_gail

    assert {"GAIL", "L2LGAIL", "Demonstrations", "__version__"} <= set(dir(l2l_gail))
    assert l2l_gail.Demonstrations.__module__.startswith("l2l_gail.demos")
    assert issubclass(l2l_gail.L2LGAIL, l2l_gail.GAIL)
    with pytest.raises(AttributeError, match="no attribute 'PPO'"):
        _ = l2l_gail.PPO


def test_every_package_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {
        path.parent.relative_to(ROOT).parts
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("__init__.py")
    }
    expected = {
        ".".join(parts if parts[0] == "l2l_gail" else ("l2l_gail", *parts)) for parts in folders
    }
    # The scripts at the top, which are a package of the wheel alone.
    assert set(project["tool"]["setuptools"]["packages"]) == expected | {"l2l_gail.scripts"}
    scripts = {"train_gail.py", "train_cifar.py"}
    assert {path.name for path in ROOT.glob("*.py")} == scripts | {"setup.py"}  # not in the wheel
