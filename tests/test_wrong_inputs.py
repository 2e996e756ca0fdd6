"""What users type wrong: one line that says what is wrong, status 2, and nothing has begun."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train_cifar
import train_gail
from l2l_gail import compare, play
from l2l_gail.cli import run_main
from l2l_gail.demos.__main__ import main as demos
from l2l_gail.demos.embedded import embedded_path
from l2l_gail.recording import record_command
from l2l_gail.sweep.__main__ import main as sweep
from tests.marks import slow

ROOT = Path(__file__).resolve().parent.parent

MAINS: dict[str, Callable[[list[str]], None]] = {
    "train_gail": train_gail.main,
    "train_cifar": train_cifar.main,
    "compare": compare.main,
    "demos": demos,
    "play": play.main,
    "sweep": sweep,
}

WRONG = {
    # Names that there are not.
    "train_gail --sed 3": "unknown flag --sed; perhaps you meant --seed",
    "train_gail --lr 1e-3": "unknown flag --lr; perhaps you meant --learning-rate",
    "train_gail --algo gail": "unknown flag --algo; perhaps you meant --method",
    "train_gail --total-timesteps 1e6": "--total-timesteps: invalid literal",
    "train_gail --env hopper": "perhaps you meant 'Hopper-v5'",
    "train_gail --seeds 0..4": "give numbers and ranges, as 0-4 or 0,3,7",
    "train_gail --demos report.json": "a format that is not known; what is read: .npz of this",
    "train_cifar --epsilon 8": "unknown flag --epsilon; perhaps you meant --eps",
    "train_cifar --eps 8/255": "--eps: could not convert string to float: '8/255'",
    "train_cifar --preset papr": "preset 'papr' is unknown; perhaps you meant 'paper'",
    "demos record --env Pendulum-v1 --policy nofile:f": "module 'nofile' cannot be imported",
    "sweep missing.toml": "missing.toml does not exist",
    "sweep report.json": "is no TOML",
    "train_gail Hopper-v5": "unexpected argument 'Hopper-v5'",
    "train_gail --method pgd": "invalid choice 'pgd'",
    "train_gail --env Hoper-v5": "unknown environment 'Hoper-v5'; perhaps you meant 'Hopper-v5'",
    "train_gail --env ''": "unknown environment ''",
    "train_gail --env nowhere:Task-v0": "module 'nowhere' cannot be imported",
    "train_gail --env os:Task-v0": "unknown environment 'os:Task-v0'",
    "train_gail --update-rule adma": "unknown rule 'adma'; did you mean 'adam'?",
    "train_gail --rule-args momentum=1": "momentum",
    "train_gail --penalty gradient_penality": "perhaps you meant 'gradient_penalty'",
    "train_gail --reward gial": "perhaps you meant 'gail'",
    "train_gail --loss hinge": "--loss 'hinge' is unknown",
    "train_gail --learned stp": "invalid choice 'stp'",
    "train_gail --device potato": "device potato is unknown",
    "train_gail --device cuda:99": "device cuda:99 is not available here",
    "train_gail --env-kwargs nonsense=1": "unexpected keyword argument 'nonsense'",
    "train_gail --env-kwargs foo": "write name=value",
    "train_gail --env-kwargs render_mode=human": "l2l_gail.play RUN --show plays a finished run",
    "train_cifar --method pdg": "method 'pdg' is unknown; perhaps you meant 'pgd'",
    "train_cifar --data imagenet": "invalid choice 'imagenet'",
    "train_cifar --model resnet": "unknown model 'resnet'",
    "train_cifar --attacker slimm": "attacker 'slimm' is unknown; perhaps you meant 'slim'",
    "train_cifar --schedule cosine": "invalid choice 'cosine'",
    "train_cifar evalaute folder": "unexpected argument 'evalaute'",
    "train_cifar evaluate folder --attacks pdg20": "'pdg20' is unknown; perhaps you meant 'pgd20'",
    "train_cifar evaluate folder --which first": "invalid choice 'first'",
    "compare --prot 6006": "unknown flag --prot; perhaps you meant --port",
    "compare folder 'b c'": "'b c'): give one that holds them all, such as a new one with links",
    "demos rcord": "unknown command 'rcord'; perhaps you meant record",
    "demos record --env Hoper-v5": "perhaps you meant 'Hopper-v5'",
    "demos record --format csv": "invalid choice 'csv'",
    "demos record --model text.zip --trust-pickle --algo ppoo": "invalid choice 'ppoo'",
    "play folder --policy frist": "invalid choice 'frist'",
    "play folder --stpes 3": "unknown flag --stpes; perhaps you meant --steps",
    # Numbers of which there are none.
    "train_gail --seed -1": "the --seed is -1",
    "train_gail --seed three": "--seed: invalid literal",
    "train_gail --seed 99999999999999999999": "give a whole number from 0",
    "train_gail --seed": "missing value for argument '--seed'",
    "train_gail --seeds 4-0": "--seeds 4-0 falls: write 0-4",
    "train_gail --seeds 0-99999999": "at most 10,000 seeds",
    "train_gail --total-timesteps 0": "--total-timesteps must be at least 1",
    "train_gail --n-envs 0": "--n-envs must be at least 1",
    "train_gail --total-timesteps 100000000000000000000": "--total-timesteps is 1e+20: give",
    "train_gail --policy-hidden-sizes 64,32": "blanks between, --policy-hidden-sizes 64 32",
    "train_gail -- --seed 1": "--seed is behind a --, where no flag is read",
    "train_gail --eval-every 0": "--eval-every must be at least 1",
    "train_gail --threads 0": "--threads must be at least 1",
    "train_gail --workers -1": "--workers must be 0 or more",
    "train_gail --learning-rate nan": "--learning-rate must be positive and finite",
    "train_gail --penalty-weight nan": "--penalty-weight must be 0 or more and finite",
    "train_gail --meta-learning-rate nan": "--meta-learning-rate must be 0 or more and finite",
    "train_gail --batch-size 1": "--batch-size must be at least 2",
    "train_gail --gamma 1.5": "--gamma must be from 0 to 1",
    "train_gail --clip-range -1": "--clip-range must be above 0",
    "train_gail --target-kl -1": "--target-kl must be above 0",
    "train_gail --demo-episodes 0": "0 episodes asked for",
    "train_gail --env-kwargs frame_skip=-1": "frame_skip is -1: give a whole number from 1 to",
    "train_cifar --epochs 0": "--epochs 0 must be at least 1",
    "train_cifar --epochs 1.5": "--epochs: invalid literal",
    "train_cifar --eps nan": "--eps nan must be above 0",
    "train_cifar --eps 1000": "--eps 1000.0 is in 1/255, from 0.1 to 255",
    "train_cifar --eps 0.031": "--eps 0.031 is in 1/255, from 0.1 to 255",
    "train_gail --demo-every 5000": "leaves one transition an episode: the longest has 1000",
    "train_gail --seeds --n-envs 8": "--seeds has no value: give one or more",
    "train_cifar --lr -1": "--lr -1.0 must be above 0",
    "train_cifar --weight-decay nan": "--weight-decay nan must be 0 or more and finite",
    "train_cifar --attacker-noise -1": "--attacker-noise -1.0 must be 0 or more and finite",
    "train_cifar --attacker-noise 1 --l2l-steps 2": "leave it or --l2l-steps out",
    "train_cifar --momentum 2": "--momentum 2.0 must be above 0 and below 1",
    "train_cifar --milestones 2.0": "must be fractions of the training",
    "train_cifar --ema nan": "--ema nan must be from 0 to below 1",
    "train_cifar --attacker-channels 3": "must be a multiple of 4",
    "train_cifar --shape 3 32": "missing value for argument '--shape'",
    "train_cifar --data synthetic --train-size 3": "--train-size 3 must be at least 10",
    "train_cifar --data synthetic --train-size 999999": "--train-size 999999 must be at most 60000",
    "train_cifar --data synthetic --eval-size 60001": "--eval-size 60001 must be at most 60000",
    "train_cifar --data synthetic --train-size 300 --batch-size 999": "above the 270 training",
    "train_cifar evaluate folder --eval-size 1": "--eval-size 1 must be at least 10",
    "train_cifar evaluate folder --eps nan": "--eps nan is in 1/255",
    "train_cifar evaluate folder --seed -1": "the --seed is -1",
    "train_cifar evaluate folder --attacks": "--attacks has no value",
    "compare folder --port 0": "--port 0: give one from 1 to 65535",
    "compare folder --every nan": "--every nan: give 1 to 86,400 seconds",
    "demos record --episodes 0": "--episodes is 0: record at least one",
    "demos record --total-timesteps 0": "--total-timesteps is 0",
    "demos record --seed 5000000000": "--seed is 5000000000: give a whole number from 0 to",
    "demos record --episode-seed -1": "--episode-seed is -1: give 0 or a positive",
    "play folder --steps 0": "--steps must be at least 1",
    "play folder --seed -1": "the --seed is -1",
    # What does not go together, and what is given twice.
    "train_gail --seeds ''": "--seeds is empty",
    "train_gail --rule-args lr=0.1": "--rule-args holds lr, which has a flag of its own",
    "play broken": "broken is no run, but holds some: give one, as broken/Hopper-v5/gail/seed0",
    "play broken/Hopper-v5/gail/seed0 --env Ant-v5": "is of Hopper-v5, --env is Ant-v5",
    "train_gail --seed 1 --seeds 0-2": "--seed and --seeds are both given",
    "train_gail --seeds 1,1": "--seeds holds 1 twice",
    "train_gail --env-kwargs a=1 --env-kwargs b=2": "--env-kwargs is given twice",
    "train_gail --env-kwargs a=1 a=2": "environment argument 'a' is given twice",
    "train_gail --env Ant-v5": "no demonstrations of Ant-v5 are embedded",
    "train_gail --env Walker2d-v5 --demos Hopper-v5": "the demonstrations are of Hopper-v5",
    "train_gail --demos wide.npz": "the demonstrations have observations of width 22",
    "train_cifar --compile --awp 0.01": "--compile and --awp do not go together",
    "train_cifar --width 0.5": "--width 0.5 is for --model preact_resnet18",
    "train_cifar --data synthetic --train-size 300 --shape 1 28 28": "the settings say (1, 28, 28)",
    "train_cifar --milestones 0.5 --milestones 0.7": "--milestones is given twice",
    "demos record --vecnormalize text.zip": "--trust-pickle lets it be loaded",
    "demos record --algo ppo": "go with --model",
    # Files that are missing, damaged, of another kind, or in the way.
    "train_gail --demos missing.npz": "missing.npz does not exist",
    "train_gail --demos damaged.npz": "damaged.npz is damaged",
    "train_gail --demos text.npz": "text.npz is damaged, cut off or of another format",
    "train_gail --demos nan.npz": "'obs' has 1 NaN or infinite values, the first at step 3",
    "train_gail --demos short.npz": "arrays of unequal length",
    "train_gail --demos folder": "folder is a folder of another kind",
    "train_gail --out file/runs": "file/runs is not a folder for runs",
    "train_gail --name a/b": "--name 'a/b' is part of a folder's name",
    "train_cifar --data cifar10 --data-dir nowhere": "--data-dir nowhere is no folder",
    "train_cifar --data cifar10 --data-dir folder": "no CIFAR-10 in folder and no network",
    "train_cifar --data cifar10 --data-dir cifar": "cifar/data_batch_1 is not a CIFAR batch",
    "train_cifar --data synthetic --train-size 300 --out file": "file is not a folder for runs",
    "train_cifar evaluate": "missing from train_cifar.py evaluate: PATH",
    "train_cifar evaluate folder": "folder holds no finished run",
    "train_cifar evaluate broken/Hopper-v5/gail/seed0": "summary.json is damaged",
    "train_cifar evaluate folder --json report.json": "--json report.json exists",
    "compare nowhere": "nowhere is not a folder",
    "compare folder": "no finished run below folder",
    "compare broken": "summary.json is damaged",
    "demos info": "missing from python -m l2l_gail.demos info",
    "demos info missing.npz": "missing.npz does not exist",
    "demos info damaged.npz": "damaged.npz is damaged",
    "demos record --out there.npz": "there.npz exists and is not overwritten",
    "demos record --out file/new.npz": "its folder cannot be made",
    "demos record --out new.txt": "does not end in .npz",
    "demos record --model missing.zip": "no model at missing.zip",
    "demos record --model text.zip": "text.zip is damaged",
    "demos record --model folder": "folder is a folder, not a file",
    "play nowhere": "nowhere is not a folder",
    "play folder": "folder holds no policy yet",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of every wrong kind."""
    root = tmp_path_factory.mktemp("files")
    content = dict(np.load(embedded_path("Hopper-v5")))
    shutil.copy(embedded_path("Hopper-v5"), root / "there.npz")
    (root / "damaged.npz").write_bytes((root / "there.npz").read_bytes()[:5000])
    for name in ("text.npz", "text.zip", "file", "report.json"):
        (root / name).write_text("{}\n")
    (root / "folder").mkdir()
    obs = content["obs"].copy()
    obs[3, 2] = np.nan
    np.savez(root / "nan.npz", **{**content, "obs": obs})
    np.savez(root / "short.npz", **{**content, "acts": content["acts"][:-1]})
    twice = {name: np.hstack([content[name]] * 2) for name in ("obs", "next_obs")}
    unnamed = {name: value for name, value in content.items() if name != "env_id"}
    np.savez(root / "wide.npz", **{**unnamed, **twice})
    (root / "cifar").mkdir()
    (root / "cifar" / "data_batch_1").write_bytes(b"no pickle")
    broken = root / "broken" / "Hopper-v5" / "gail" / "seed0"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text('{"env": "Hopper-v5"}')
    (broken / "summary.json").write_text('{"kind": "gail", ')
    return root


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("work has begun")


def no_network(*args: Any, **kwargs: Any) -> Any:
    raise OSError("no network")


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_input_is_one_line_and_leaves_nothing(
    line: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(files)
    monkeypatch.delenv("L2L_GAIL_DATA", raising=False)
    monkeypatch.setattr("adv_training.download.urllib.request.urlopen", no_network)
    for module, name in (
        *((train_gail, "run_jobs"), (train_cifar, "run_jobs")),
        *((record_command, "train_expert"), (record_command, "record_episodes")),
    ):
        monkeypatch.setattr(module, name, refuse)
    before = sorted(files.rglob("*"))
    name, *args = shlex.split(line)
    with pytest.raises(SystemExit) as caught:
        run_main(lambda: MAINS[name](args))
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert WRONG[line] in err
    assert sorted(files.rglob("*")) == before


def test_there_are_forty_of_both_scripts_and_of_every_command() -> None:
    commands = [line.split()[0] for line in WRONG]
    assert len(WRONG) >= 40
    assert set(commands) == set(MAINS)
    assert min(commands.count(name) for name in ("train_gail", "train_cifar")) >= 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "train_gail.py --seed -1",
        slow("train_cifar.py --epochs 0"),
        slow("-m l2l_gail.play nowhere"),
    ],
)
def test_the_process_says_no_more_than_that_line(command: str, tmp_path: Path) -> None:
    first, *rest = command.split()
    path = str(ROOT / first) if first.endswith(".py") else first
    done = subprocess.run(
        [sys.executable, path, *rest],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
