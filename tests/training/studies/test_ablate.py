"""The ablations: every variant is a run that there is, and a tiny budget goes all the way, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_sets import write_tones

from training.augment.chain import AUGMENTATIONS
from training.config import PretrainConfig
from training.run import read_config
from training.studies import ablate

pytestmark = pytest.mark.slow


TINY = ["synthetic=1.0", "seconds=0.3", "batch=4", "n_validation=1"]


@pytest.mark.parametrize("objective", ablate.OBJECTIVES)
def test_every_variant_is_the_run_it_says(objective: str) -> None:
    configs = {
        name: read_config(PretrainConfig, ablate.RUNS / f"{run}.toml", overrides)
        for name, (run, overrides) in ablate.variants(objective).items()
    }
    assert len(configs) == 9 + 7
    assert len(set(configs.values())) == len(configs), "no two are the same"
    assert all(config.contrastive == objective for name, config in configs.items() if "predictive" not in name)
    for kind in ("bn", "series", "parallel"):
        assert (configs[kind].adapter, configs[kind].n_heads) == (kind, 2)
    assert (configs["split"].adapter, configs["split"].n_heads) == ("none", 2)
    assert (configs["simple"].adapter, configs["simple"].n_heads) == ("none", 1)
    assert configs["contrastive-parallel"].predictive_weight == 0
    assert configs["predictive-parallel"].contrastive == "none"
    assert [configs[f"without-{kind.replace('_', '-')}"].exclude for kind in AUGMENTATIONS] == [
        (kind,) for kind in AUGMENTATIONS
    ]


def test_a_tiny_budget_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path / "tones", n_clips=2)
    out = tmp_path / "out"
    arguments = ["--steps", "2", "--out", str(out), "--data", f"tones={tmp_path}/tones", "--shots", "1"]
    arguments += ["--tasks", "20", "--cache", str(tmp_path / "cache"), "--device", "cpu"]
    names = ["simple", "without-fade"]
    ablate.main([*arguments, "--only", names[0], "--set", *TINY])
    before = (out / "simple" / "checkpoint.pt").stat().st_mtime_ns
    ablate.main([*arguments, "--only", names[1], "--set", *TINY])  # beside the first one's rows, not instead of them
    ablate.main([*arguments, "--only", names[0], "--set", *TINY])
    assert (out / "simple" / "checkpoint.pt").stat().st_mtime_ns == before, "what is finished is not done again"

    found = json.loads((out / "ablation.json").read_text())
    rows = {(result["encoder"], result["space"]) for result in found["results"]}
    assert rows == {
        ("simple", "combined"),
        *(("without-fade", space) for space in ("combined", "invariant", "variant")),
    }
    config = json.loads((out / "without-fade" / "config.json").read_text())
    assert (config["steps"], config["patience"], config["exclude"]) == (2, 0, ["fade"])
    printed = capsys.readouterr().out
    assert "2 steps each, simclr; synthetic=1.0" in printed
    assert "without-fade/variant" in printed

    with pytest.raises(SystemExit, match=r"error: .*holds a run with other values of batch"):
        ablate.main([*arguments, "--only", names[0], "--set", *TINY, "batch=6"])


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    write_tones(tmp_path / "tones", n_classes=4, n_clips=2)
    arguments = ["--steps", "2", "--out", str(tmp_path / "out"), "--data", f"tones={tmp_path}/tones"]
    for more, message in (
        (["--only", "parallell"], "--only parallell: expected some of contrastive, "),
        ([], "5-way 1-shot episodes need 5 classes"),
    ):
        with pytest.raises(SystemExit, match=r"^error: ") as error:
            ablate.main([*arguments, *more])
        assert message in str(error.value)
        assert not (tmp_path / "out").exists()
