import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mtslvr.encoder.model import MTSLVR
from training.config import PretrainConfig
from training.corpus.pack import pack
from training.learner import total_loss
from training.precision import faster
from training.pretrain import average, learning_rate, pretrain
from training.run import Run, read_config, read_log
from training.views import Views

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]
RUNS = sorted((ROOT / "training" / "runs").glob("*.toml"))
TINY = ["synthetic=1.0", "shortest=0.0", "seconds=0.3", "batch=4", "n_validation=1", "validate_every=2", "warmup=0"]
CPU = torch.device("cpu")


def config(*overrides: str, run: str = "smoke") -> PretrainConfig:
    return read_config(PretrainConfig, ROOT / "training" / "runs" / f"{run}.toml", [*TINY, *overrides])


def start(out: Path, *overrides: str, launcher: tuple[str, ...] = ("-m",)) -> "subprocess.Popen[str]":
    run = str(ROOT / "training" / "runs" / "smoke.toml")
    command = [
        sys.executable,
        *launcher,
        "training.pretrain",
        run,
        *TINY,
        *overrides,
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(out / "checkpoint.pt", weights_only=True)["learner"]
    return state


@pytest.mark.parametrize("run", [path.stem for path in RUNS])
def test_every_run_file_starts_and_finishes(run: str, tmp_path: Path) -> None:
    cfg = config(
        "steps=2", "precision=float32", "teachers=[]", run=run
    )  # who heard a corpus only, see test_teachers.py
    pretrain(cfg, None, tmp_path / run, CPU)
    model = MTSLVR.from_pretrained(tmp_path / run / "model")
    assert model.config.adapter == cfg.adapter
    assert model.embed(np.ones(8_000, np.float32), sample_rate=16_000).shape == (1000,)
    assert model.config.training["sounds_seen"] == 2 * cfg.batch
    assert (tmp_path / run / "curves.png").stat().st_size > 10_000
    assert ("comparison" in read_log(tmp_path / run / "log.jsonl")[0]) == (cfg.comparison_weight > 0)
    assert len((ROOT / "training" / "runs" / f"{run}.toml").read_text().splitlines()) <= 16
    expected = set()
    if cfg.contrastive != "none":
        expected.add("contrastive")
    if cfg.predictive_weight:
        expected.add("predictive")
    assert expected == set(read_log(tmp_path / run / "log.jsonl")[0]) & {"contrastive", "predictive"}


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    overrides = ["steps=8", "checkpoint_minutes=0.0", "patience=5"]  # a checkpoint after every step
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(killed, *overrides)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL  # it had not finished
    for out in (killed, whole):
        process = start(out, *overrides)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    a, b = weights(whole), weights(killed)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (whole / "model" / "model.safetensors").read_bytes() == (killed / "model" / "model.safetensors").read_bytes()
    steps = [line["step"] for line in read_log(killed / "log.jsonl") if line["split"] == "validation"]
    assert steps == [2, 4, 6, 8]  # none twice, none missing


def test_sigterm_saves_and_stops(tmp_path: Path) -> None:
    process = start(tmp_path / "run", "steps=100000")
    deadline = time.monotonic() + 120
    while not read_log(tmp_path / "run" / "log.jsonl") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "run the same command again to go on" in errors
    assert weights(tmp_path / "run")


def test_two_processes_train_together(tmp_path: Path) -> None:
    process = start(
        tmp_path / "run",
        "steps=2",
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"),
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert MTSLVR.from_pretrained(tmp_path / "run" / "model").spaces["combined"] == 1000
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert [line["step"] for line in lines if line["split"] == "validation"] == [2]  # only one of them writes


def test_batches_follow_from_the_seed_alone() -> None:
    views = Views(config(), None, 4, CPU)
    first, again, other = ([part.nan_to_num(9.0) for part in views(seed)] for seed in (7, 7, 8))  # NaN: not compared
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])  # same chain, other parameters


def test_accumulation_sees_as_many_sounds(tmp_path: Path) -> None:
    pretrain(config("steps=1", "accumulate=2", "batch=8"), None, tmp_path / "run", CPU)
    assert MTSLVR.from_pretrained(tmp_path / "run" / "model").config.training["sounds_seen"] == 8


def test_schedules() -> None:
    paper = PretrainConfig()
    assert learning_rate(paper, 0) == pytest.approx(5e-5)
    assert learning_rate(paper, 1000) == pytest.approx(0)
    assert learning_rate(paper, 2000) == pytest.approx(5e-5)  # it comes back up
    cosine = config("steps=100", "warmup=10", "lr=1.0")
    assert learning_rate(cosine, 0) == pytest.approx(0.1)
    assert learning_rate(cosine, 10) == pytest.approx(1.0)
    assert learning_rate(cosine, 100) == pytest.approx(0)


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    # A delta that nothing improves by: the first validation is the best, and two more without improvement end the run.
    pretrain(config("steps=50", "validate_every=1", "patience=2", "delta=1000.0"), None, tmp_path / "run", CPU)
    progress = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["progress"]
    assert progress["step"] == 3
    assert progress["stopped_early"]


def test_a_non_finite_loss_stops_the_run_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step"):
        pretrain(config("steps=20", "lr=1e30"), None, tmp_path / "run", CPU)
    failure = torch.load(tmp_path / "run" / "failure.pt", weights_only=True)
    assert {"step", "batch_seed", "losses", "learner"} <= set(failure)


def test_the_last_weights_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def watch(mean: dict[str, torch.Tensor], weights: dict[str, torch.Tensor], n: int) -> None:
        seen.append({name: tensor.clone() for name, tensor in weights.items()})
        average(mean, weights, n)

    monkeypatch.setattr("training.pretrain.average", watch)
    pretrain(config("steps=8", "average_last=0.25", "precision=float32"), None, tmp_path / "run", CPU)
    assert len(seen) == 2  # the last quarter of eight steps
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["best"]
    for name, tensor in kept.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (seen[0][name] + seen[1][name]) / 2)
    stem = MTSLVR.from_pretrained(tmp_path / "run" / "model").network.stem[0].weight
    torch.testing.assert_close(stem, kept["stem.0.weight"], rtol=1e-3, atol=1e-4)  # stored as float16
    assert not torch.equal(seen[0]["stem.0.weight"], seen[1]["stem.0.weight"])
    with pytest.raises(ValueError, match=r"average_last is 0\.5 and patience 3; expected a share"):
        config("average_last=0.5", "patience=3")


def test_gains_differ_between_views_and_move_the_level_alone() -> None:
    plain, louder = (Views(config(*more), None, 4, CPU)(7) for more in ([], ["gain_db=[6.0, 6.0]"]))
    for before, after in zip(plain[:2], louder[:2], strict=True):
        change = (after - before)[:, 0]  # dB, but for where the floor of the logarithm is
        assert change.median().item() == pytest.approx(6, abs=0.01)
    assert torch.equal(plain[2], louder[2])
    one, other = ((after - before)[:, 0].median(1).values.median(1).values for before, after in
                  zip(plain[:2], Views(config("gain_db=[-26.0, 6.0]"), None, 4, CPU)(7)[:2], strict=True))  # fmt: skip
    gains = torch.cat([one, other])
    assert gains.min() >= -26.1 and gains.max() <= 6.1 and len(gains.round(decimals=2).unique()) == 8
    with pytest.raises(ValueError, match=r"gain_db is .* expected a range"):
        config("gain_db=[6.0, -6.0]")


def test_a_share_of_the_sounds_is_left_as_it_is() -> None:
    first, second, labels, differences, _ = Views(config("clean=0.4"), None, 100, CPU)(7)
    clean = labels.sum(1) == 0
    assert 25 <= clean.sum() <= 55
    assert torch.equal(first[clean], second[clean]) and differences[clean].isnan().all()
    assert not any(map(torch.equal, first[~clean], second[~clean]))
    assert (Views(config(), None, 100, CPU)(7)[2].sum(1) > 0).all()
    with pytest.raises(ValueError, match=r"clean 1\.0, .* expected shares"):
        config("clean=1.0")


def test_auto_takes_the_faster_precision_and_a_run_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {torch.float32: 2.0, torch.bfloat16: 1.0}
    monkeypatch.setattr("training.precision._time", lambda x, kernel: times[x.dtype])
    pretrain(config("steps=1", "precision=auto"), None, tmp_path / "run", CPU)
    chosen = json.loads((tmp_path / "run" / "config.json").read_text())["precision"]
    assert chosen == "bfloat16" == faster(CPU)
    times[torch.float32] = 0.5
    assert faster(CPU) == "float32"
    pretrain(config("steps=1", "precision=auto"), None, tmp_path / "run", CPU)  # goes on as it began
    assert MTSLVR.from_pretrained(tmp_path / "run" / "model").config.training["precision"] == "bfloat16"


def test_the_faster_precision_is_measured() -> None:
    assert faster(CPU) in ("float32", "bfloat16")


def test_every_loss_has_a_weight() -> None:
    results = {"contrastive": torch.tensor(2.0), "accuracy": torch.ones(7), "comparison": torch.tensor(3.0)}
    assert total_loss(results, {"contrastive": 1.0, "predictive": 9.0, "comparison": 0.5}).item() == 3.5
    with pytest.raises(ValueError, match="no weight for the loss 'comparison'; there are weights for contrastive"):
        total_loss(results, {"contrastive": 1.0})


def test_the_progress_bar_shows_every_loss(tmp_path: Path) -> None:
    with Run(tmp_path / "run", {}) as run:
        run.load_checkpoint(CPU)
        told = run.log(1, "train", {name: torch.tensor(0.25) for name in ("contrastive", "comparison")}, lr=1e-3)
    assert told.startswith("contrastive 0.250 comparison 0.250 |")


def test_going_on_with_another_corpus_is_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("one", "other"):
        for source in ("a", "b", "c"):
            (tmp_path / name / source).mkdir(parents=True)
            soundfile.write(tmp_path / name / source / "0.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
        pack(tmp_path / name, tmp_path / f"{name}-packed")
    shutil.copytree(tmp_path / "one-packed", tmp_path / "moved")
    one_step = config("steps=1", "synthetic=0.0")
    for folder in ("one-packed", "moved"):  # where it lies is no matter
        pretrain(one_step, str(tmp_path / folder), tmp_path / "run", CPU)
    with pytest.raises(ValueError, match=r"other values of corpus \('[0-9a-f]{16}', now '[0-9a-f]{16}'\)"):
        pretrain(one_step, str(tmp_path / "other-packed"), tmp_path / "run", CPU)


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown stepz"):
        config("stepz=3")
    with pytest.raises(ValueError, match=r"batch is 'many', expected a int"):
        config("batch=many")
    with pytest.raises(ValueError, match=r"comparison_weight is -1\.0, expected 0 or more"):
        config("comparison_weight=-1")
    with pytest.raises(ValueError, match="per_source is 0, expected more than 0"):
        config("per_source=0")
    with pytest.raises(ValueError, match="needs sound"):
        pretrain(config("synthetic=0.0"), None, tmp_path / "none", CPU)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"steps": 7}))
    with pytest.raises(ValueError, match="holds a run with other values of"):
        pretrain(config(), None, tmp_path / "run", CPU)


def test_batches_have_lengths_of_their_own() -> None:
    views = Views(config("shortest=1.0", "seconds=2.0"), None, 2, CPU)
    widths = [views(seed)[0].shape[3] for seed in range(12)]
    assert set(widths) == {1 + round(seconds * 16_000) // 512 for seconds in (1.0, 1.5, 2.0)}
    assert widths[:3] == [views(seed)[0].shape[3] for seed in range(3)]
    with pytest.raises(ValueError, match=r"shortest is 3\.0, expected seconds, from 0"):
        config("shortest=3.0", "seconds=2.0")
