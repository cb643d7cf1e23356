"""The embedding benchmark runs, and what it compares with computes the same."""

import json
from pathlib import Path

import pytest
import torch

from mtslvr.encoder.adapters import Adapter
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from tests.benchmarks import embed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("adapter", ["bn", "series", "parallel"])
def test_the_published_way_gives_the_same(adapter: Adapter) -> None:
    torch.manual_seed(0)
    model = MTSLVR(EncoderConfig(adapter=adapter, mean=0.01, std=0.1))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # fresh ones would hide a missing one
            module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 2)
    waves = 0.1 * torch.randn(2, 8000)
    with torch.no_grad():
        ours, plain = model(waves), embed.published(model, waves)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-4 * float(ours.abs().max()))


def test_the_benchmark_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, n_threads = tmp_path / "out.json", torch.get_num_threads()
    embed.main(["--batch", "1", "2", "--threads", "1", "--repeats", "1", "--seconds", "0.5", "--json", str(path)])
    torch.set_num_threads(n_threads)
    (results,) = json.loads(path.read_text())
    assert [run["batch"] for run in results["runs"]] == [1, 2]
    for run in results["runs"]:
        found = run["results"]
        assert found["published"]["ratio"] == 1 and {"combined", "invariant", "embed files", "floor"} <= set(found)
        assert all(row["ms_per_clip"] > 0 for row in found.values())
        assert found["floor"]["ms_per_clip"] < found["published"]["ms_per_clip"]
    assert results["cold_start"]["in all"] > results["cold_start"]["import torch"] > 0
    assert "x published" in capsys.readouterr().out


@pytest.mark.slow
def test_lesser_kinds_of_cpu_are_emulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    arguments = ["--batch", "1", "--threads", "1", "--repeats", "1", "--seconds", "0.5", "--json", str(path)]
    embed.main(["--kind", "AVX2", *arguments])
    (result,) = json.loads(path.read_text())
    assert result["kind"] == "AVX2" and result["cpu"] in ("AVX2", "DEFAULT", "NO AVX")
    assert "AVX2 CPU" in capsys.readouterr().out
