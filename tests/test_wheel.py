"""The wheel, built from a copy of the sources and used in an environment that has no clone."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SOURCES = (
    *("pyproject.toml", "setup.py", "README.md", "LICENSE", "train_gail.py", "train_cifar.py"),
    *("l2l_gail", "envs", "adv_training"),
)

TRAIN = """
import sys
import numpy as np
from envs import make_vec
from l2l_gail import L2LGAIL, Demonstrations
from l2l_gail.core import MatrixRule

demonstrations = Demonstrations.load("Hopper-v5")
env = make_vec("Hopper-v5", n_envs=2, seed=0)
settings = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, "seed": 0}
model = L2LGAIL("MlpPolicy", env, demonstrations, rule=MatrixRule(), **settings)
model.learn(128)
model.save(sys.argv[1])
obs = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
np.save(sys.argv[2], model.predict(obs, deterministic=True)[0])
"""

PREDICT = """
import sys
import numpy as np
from l2l_gail import L2LGAIL
from l2l_gail.core import MatrixRule, build_rule

assert any(parameter.any() for parameter in build_rule("pretrained").parameters())
model = L2LGAIL.load(sys.argv[1])
assert type(model.rule) is MatrixRule
obs = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
np.testing.assert_array_equal(model.predict(obs, deterministic=True)[0], np.load(sys.argv[2]))
print("equal")
"""


def run(python: Path | str, *arguments: str | Path, cwd: Path) -> str:
    """Output of a process that finds no module through its folder or environment."""
    done = subprocess.run(
        [str(python), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, env={}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that the clone gets no ``build`` folder."""
    copy = tmp_path_factory.mktemp("clone")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", "dist", ".", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel and the packages of this one, but no clone."""
    folder = tmp_path_factory.mktemp("user")
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    )
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_has_one_top_level_package_and_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"l2l_gail"}
    for name in (
        *("py.typed", "envs/vec.py", "adv_training/__init__.py", "core/rule.py"),
        *("scripts/train_gail.py", "scripts/train_cifar.py"),
    ):
        assert f"l2l_gail/{name}" in names
    assert any(name.endswith("LICENSE") for name in names)
    in_clone = {path.name for path in (ROOT / "l2l_gail/demos/data").iterdir()}
    in_wheel = {name.split("/")[-1] for name in names if name.startswith("l2l_gail/demos/data/")}
    assert in_wheel == in_clone
    assert "Hopper-v5.npz" in in_wheel
    assert "l2l_gail/core/data/pretrained.pt" in names


def test_its_description_is_the_readme_without_what_an_index_cannot_show(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert "l2l_gail/scripts/setup.py" not in archive.namelist()
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        head, _, shown = archive.read(name).decode().partition("\n\n")
    assert "Description-Content-Type: text/markdown" in head
    readme = (ROOT / "README.md").read_text()
    blocks = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
    assert blocks.findall(shown) == blocks.findall(readme)
    prose = blocks.sub("", shown)
    assert "![" not in prose
    targets = re.findall(r"\]\(([^)]*)\)", prose)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    words = len(re.sub(r"\]\([^)]*\)|!\[[^\]]*\]\([^)]*\)", "", readme).split())
    assert len(shown.split()) > 0.95 * words  # nothing else is lost
    assert "Project-URL: Paper, https://arxiv.org/abs/1811.01213" in head


def test_with_a_public_repository_pictures_and_links_lead_into_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("setuptools.setup", lambda **kwargs: None)
    readme_for_index = runpy.run_path(str(ROOT / "setup.py"))["readme_for_index"]
    home = "https://example.org/us/l2l_gail"
    shown = readme_for_index((ROOT / "README.md").read_text(), f"{home}/")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", shown)
    links = re.findall(r"(?<!!)\[[^\]]+\]\(([^)]*)\)", shown)
    assert pictures
    inside = [*pictures, *(link for link in links if link.startswith(home))]
    assert all(target.startswith((f"{home}/raw/HEAD/", f"{home}/blob/HEAD/")) for target in inside)
    for target in inside:
        path = target.split("/HEAD/")[1].split("#")[0]
        assert (ROOT / path).exists(), target
    assert all(target.startswith("https://") for target in [*pictures, *links])


def test_everything_imports_and_nothing_leaks(installed: Path, tmp_path: Path) -> None:
    probe = (
        "import importlib.util, l2l_gail, l2l_gail.envs, l2l_gail.adv_training, l2l_gail.compare\n"
        "tops = ('envs', 'adv_training', 'train_gail', 'tests')\n"
        "print([n for n in tops if importlib.util.find_spec(n)])\n"
        "print(l2l_gail.__file__)"
    )
    leaked, location = run(installed, "-c", probe, cwd=tmp_path).splitlines()
    assert leaked == "[]"
    assert location.startswith(str(installed.parent.parent))


def test_the_embedded_demonstrations_load(installed: Path, tmp_path: Path) -> None:
    probe = (
        "from l2l_gail import Demonstrations\n"
        "demos = Demonstrations.load('Hopper-v5')\n"
        "print(demos.env_id, demos.obs.shape[1], demos.acts.shape[1])"
    )
    assert run(installed, "-c", probe, cwd=tmp_path) == "Hopper-v5 11 3"


def test_a_sweep_finds_the_scripts(installed: Path, tmp_path: Path) -> None:
    spec = tmp_path / "sweep.toml"
    spec.write_text('[train_cifar]\nmethods = ["pgd"]\ndata = ["synthetic"]\n')
    listed = run(installed, "-m", "l2l_gail.sweep", spec, "--dry-run", cwd=tmp_path)
    assert "pgd" in listed


def test_environments_step_under_their_new_name(installed: Path, tmp_path: Path) -> None:
    probe = (
        "from l2l_gail.envs import make_vec\n"
        "vec = make_vec('Hopper-v5', n_envs=2, seed=0)\n"
        "print(vec.reset().shape)"
    )
    assert run(installed, "-c", probe, cwd=tmp_path) == "(2, 11)"


def test_a_model_saved_from_a_clone_loads_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    model, actions = tmp_path / "model.zip", tmp_path / "actions.npy"
    run(sys.executable, "-c", TRAIN, model, actions, cwd=ROOT)
    assert run(installed, "-c", PREDICT, model, actions, cwd=tmp_path) == "equal"


def command(installed: Path, name: str, *arguments: str, cwd: Path) -> str:
    """Output of a command that the wheel installed."""
    return run(installed.with_name(name), *arguments, cwd=cwd)


@pytest.mark.parametrize(
    ("name", "subcommand"),
    [
        ("l2l-gail", []),
        ("l2l-cifar", []),
        ("l2l-cifar", ["evaluate"]),
        ("l2l-compare", []),
        ("l2l-demos", []),
        ("l2l-demos", ["record"]),
    ],
)
def test_a_command_explains_itself_under_its_own_name(
    installed: Path, tmp_path: Path, name: str, subcommand: list[str]
) -> None:
    text = command(installed, name, *subcommand, "--help", cwd=tmp_path)
    assert text.startswith(" ".join(["usage:", name, *subcommand]))


def test_the_commands_train_and_compare_in_processes_of_their_own(
    installed: Path, tmp_path: Path
) -> None:
    small = "--total-timesteps 512 --n-envs 4 --n-steps 64 --batch-size 64 --eval-every 512"
    several = "--method gail --seeds 0-1 --workers 2"
    command(installed, "l2l-gail", *small.split(), *several.split(), cwd=tmp_path)
    images = "--data synthetic --train-size 200 --eval-size 20 --model tiny_cnn --epochs 1"
    command(installed, "l2l-cifar", *images.split(), "--method", "pgd", cwd=tmp_path)
    table = command(installed, "l2l-compare", "--no-videos", cwd=tmp_path)
    assert "Hopper-v5" in table
    assert "synthetic" in table
    assert (tmp_path / "runs" / "comparison" / "index.html").is_file()


def test_a_mistake_in_a_command_is_one_line(installed: Path, tmp_path: Path) -> None:
    path = installed.with_name("l2l-demos")
    done = subprocess.run([path, "inof"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: unknown command 'inof'; perhaps you meant info\n"
