"""The few-shot study: its figures against hand-made cases."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from training.evaluation.datasets.common import Clip, Dataset
from training.studies import fewshot

pytestmark = pytest.mark.slow


N_CLASSES, N_CLIPS = 6, 8


def blobs(spread: float) -> tuple[Dataset, np.ndarray]:
    """Classes around corners of a simplex, `spread` of the way to the next one; one head of noise behind."""
    rng = np.random.default_rng(0)
    clips = tuple(
        Clip(Path(f"{i}-{j}.wav"), f"class {i}", f"{i}-{j}") for i in range(N_CLASSES) for j in range(N_CLIPS)
    )
    centres = np.repeat(np.eye(N_CLASSES), N_CLIPS, 0)
    head = centres + spread * rng.standard_normal(centres.shape)
    return Dataset("blobs", clips), np.hstack([head, rng.standard_normal(head.shape)])


def test_calibration_error_is_the_mean_gap() -> None:
    # Two clips at 0.9, one right; two at 0.6, both right: gaps 0.4 and 0.4.
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]])
    bins = fewshot.reliability(probabilities, np.array([1.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(bins[[6, 9]], [[2, 1.2, 2], [2, 1.8, 1]])
    assert fewshot.calibration_error(bins.tolist()) == pytest.approx(40.0)
    sure = fewshot.reliability(np.array([[1.0, 0.0]]), np.array([1.0]))  # 1.0 falls into the last bin
    assert fewshot.calibration_error(sure.tolist()) == 0.0


def test_the_unknown_classes_come_last_and_are_as_many() -> None:
    dataset, _ = blobs(0.1)
    n_known, tasks = fewshot.draw_tasks(dataset, "2", 3, 10, group_disjoint=False)
    assert (n_known, tasks.support.shape, tasks.query.shape) == (2, (10, 4, 3), (10, 4, 3))
    n_known, tasks = fewshot.draw_tasks(dataset, "5", 7, 10, group_disjoint=False)
    assert (n_known, tasks.support.shape, tasks.query.shape) == (5, (10, 6, 7), (10, 6, 1))  # what is left
    n_known, tasks = fewshot.draw_tasks(dataset, "all", 1, 10, group_disjoint=True)
    assert (n_known, tasks.support.shape[1]) == (6, 6)
    with pytest.raises(ValueError, match="need 6 classes of at least 9 clips"):
        fewshot.draw_tasks(dataset, "all", 8, 10, group_disjoint=False)


def test_a_study_of_easy_and_of_hopeless_sounds() -> None:
    found = {}
    for spread in (0.05, 50.0):
        dataset, features = blobs(spread)
        n_known, tasks = fewshot.draw_tasks(dataset, "3", 4, 30, group_disjoint=False)
        found[spread] = fewshot.study(dataset, features, "3", n_known, tasks, ["ridge", "centroid"])
    easy, hopeless = found.values()
    assert easy.accuracy["ridge/invariant"] == easy.accuracy["ridge/auto"] == 100
    assert easy.accuracy["ridge/variant"] < 60 and hopeless.accuracy["ridge/combined"] < 60  # chance is 33
    assert set(easy.accuracy) == {f"ridge/{s}" for s in ("combined", "invariant", "variant", "auto")} | {
        "centroid/combined"
    }
    assert sum(clips for clips, _, _ in easy.before) == sum(clips for clips, _, _ in easy.after) == 30 * 3 * 3
    assert easy.unknown is not None and hopeless.unknown is not None
    assert easy.unknown[0] > 0.6 and 0.35 < hopeless.unknown[0] < 0.65
    n_known, tasks = fewshot.draw_tasks(dataset, "all", 1, 5, group_disjoint=False)
    closed = fewshot.study(dataset, features, "all", n_known, tasks, ["ridge"])
    assert closed.unknown is None and "ridge/auto" not in closed.accuracy


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, features = blobs(0.3)
    (tmp_path / "blobs").mkdir()
    lines = ["path,label,group"]
    for clip in dataset.clips:
        (tmp_path / "blobs" / clip.path).touch()
        lines.append(f"{clip.path},{clip.label},{clip.group}")
    (tmp_path / "blobs" / "clips.csv").write_text("\n".join(lines))
    encoder = SimpleNamespace(embed=None, fingerprint="0")
    monkeypatch.setattr(fewshot.Network, "pretrained", lambda name: encoder)
    monkeypatch.setattr(fewshot.cache, "embed", lambda encoder, paths, folder: features)
    out = {name: str(tmp_path / name) for name in ("table.json", "table.png")}
    options = ["--ways", "3", "all", "--shots", "1", "4", "20", "--tasks", "5", "--methods", "ridge"]
    fewshot.main(["--data-root", str(tmp_path), *options, "--json", out["table.json"], "--plot", out["table.png"]])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["3-way", "1", "3-way", "4", "all-way", "1", "all-way", "4"]  # 20 shots: left out
    assert next(line for line in printed if line.startswith("ridge/auto")).split()[1] == "-"
    assert [line for line in printed if "tasks a set" in line] == [
        f"{task}, 5 tasks a set" for task in ("3-way 1", "3-way 4", "all-way 1", "all-way 4")
    ]
    assert printed[-1].split() == ["known:", "%", "rejected", "-"]  # of all classes: nothing is unknown
    rows = json.loads(Path(out["table.json"]).read_text())
    assert [(row["ways"], row["shots"]) for row in rows] == [("3", 1), ("3", 4), ("all", 1), ("all", 4)]
    assert Path(out["table.png"]).read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SystemExit):
        fewshot.main(["--data-root", str(tmp_path / "blobs")])
