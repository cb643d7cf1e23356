"""How fast embedding is on this machine, against the network as the paper describes it, the machine's floor and other models.

    python -m tests.benchmarks.embed [--kind this AVX-512 AVX2] [--batch 1 16] [--threads 1 2] [--repeats 11] [--json FILE]

"published": each head is a whole pass of its own through the adapters as they were trained, and the front end takes two
transforms. "floor": the multiply-adds of the folded network, both heads, at the rate of a large float32 matrix product. Other
models come with random weights, where transformers is installed: enough for speed. All take turns, in an order that changes
from round to round; times are CPU time of all threads, medians, and ratios medians over the rounds, so that a busy machine disturbs them
least. A lesser kind of CPU than this one is emulated in a process of its own, whose libraries are told not to use more.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mtslvr.encoder.adapters import AdapterBlock, AdapterConv2d, AdapterResNet18
from mtslvr.encoder.frontend import EPS, HOP, N_FFT, mel_filterbank
from mtslvr.encoder.model import MTSLVR
from mtslvr.sound.stream import SAMPLE_RATE

KINDS = {  # environment of the libraries that compute: oneDNN, ATen, MKL
    "this": {},
    "AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
SQUARE = 2048  # rows and columns of the floor's matrix product
COLD_START = """
import time; start = time.perf_counter()
import torch; imported = time.perf_counter()
import mtslvr; model = mtslvr.MTSLVR.from_pretrained(); loaded = time.perf_counter()
model.embed("{path}"); done = time.perf_counter()
import os; status = open("/proc/self/status").read() if os.path.exists("/proc/self/status") else ""  # not the parent's
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024 if "VmHWM:" in status else float("nan")
print(imported - start, loaded - imported, done - loaded, done - start, peak)
"""


def published_image(waves: Tensor, mean: float, std: float) -> Tensor:
    """The front end with a transform for each window: [B, samples] -> [B, 3, 128, T]."""
    waves, filters = (waves - mean) / std, mel_filterbank().T

    def spectrum(window: Tensor) -> Tensor:
        return torch.stft(waves, N_FFT, HOP, window=window, return_complex=True)

    mel = filters @ spectrum(torch.hann_window(N_FFT)).abs().square()
    plain = spectrum(torch.ones(N_FFT))
    projected = torch.complex(filters @ plain.real, filters @ plain.imag)
    projected.imag[..., 0] = 0  # of a symmetric frame; rounding would choose the sign of pi
    return torch.stack([10 * (mel + EPS).log10(), 10 * (projected.abs() + EPS).log10(), projected.angle()], 1)


def published_conv(layer: AdapterConv2d, x: Tensor, task: int) -> Tensor:
    task %= len(layer.norms)
    h = layer.conv(x)
    if layer.adapter == "series":
        h = h + layer.adapters[task](h)
    elif layer.adapter == "parallel":
        h = h + layer.adapters[task](x)
    normed: Tensor = layer.norms[task](h)
    return normed


def published_head(network: AdapterResNet18, images: Tensor, task: int) -> Tensor:
    """One head by itself, nothing folded: [B, 3, 128, T] -> [B, head_dim]."""
    x = F.max_pool2d(F.relu(network.stem(images)), 3, 2, 1)
    for blocks in network.stages:
        before = x
        for block in blocks:  # type: ignore[attr-defined]
            assert isinstance(block, AdapterBlock)
            h = F.relu(published_conv(block.conv1, x, task))
            x = F.relu(published_conv(block.conv2, h, task) + block.shortcut(x))
    if network.end_norms:
        x = F.relu(network.end_norms[task](x))
    features: Tensor = network.heads[task](before, x)
    return features


def published(model: MTSLVR, waves: Tensor) -> Tensor:
    """Both heads as the paper describes them: [B, samples] -> [B, 2 * head_dim]."""
    images = [published_image(waves, model.config.mean, model.config.std) for _ in range(2)]  # each pass from the sound
    return torch.cat([published_head(model.network, image, task) for task, image in enumerate(images)], 1)


def others(waves: Tensor) -> dict[str, Callable[[], object]]:
    """Models that users would take instead, with random weights, each on its own input for these clips."""
    try:
        import transformers
    except ImportError:
        return {}
    n = len(waves)
    # Their front ends are left out, in their favour. AST and CLAP pad a clip to 10 s.
    ast = transformers.ASTModel(transformers.ASTConfig()).eval()
    wav2vec = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).eval()
    clap = transformers.ClapAudioModel(transformers.ClapAudioConfig(enable_fusion=False)).eval()
    spectrogram, mel = torch.randn(n, 1024, 128), torch.randn(n, 1, 1001, 64)
    return {
        "AST base (10 s)": lambda: ast(spectrogram),
        "wav2vec 2.0 base": lambda: wav2vec(waves),
        "HTS-AT of CLAP (10 s)": lambda: clap(mel),
    }


def contestants(
    model: MTSLVR, n_clips: int, seconds: float, folder: Path, exported: Sequence[str] = ()
) -> dict[str, Callable[[], object]]:
    """What is timed on a batch of clips, by name."""
    rng = np.random.default_rng(0)
    clips = (0.1 * rng.standard_normal((n_clips, round(seconds * SAMPLE_RATE)))).astype(np.float32)
    paths = [folder / f"{i}.wav" for i in range(n_clips)]
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, clip, SAMPLE_RATE)
    waves = torch.from_numpy(clips)
    pairs = [(clip, SAMPLE_RATE) for clip in clips]
    with torch.no_grad():
        images = model.frontend(waves).contiguous(memory_format=torch.channels_last)
    folded = model._fold()
    fast = MTSLVR(model.config, model.network, "bfloat16")
    square = torch.randn(SQUARE, SQUARE)
    files = {path: MTSLVR.from_pretrained(path) for path in exported}
    return {
        "published": lambda: published(model, waves),
        "combined": lambda: model(waves),
        "invariant": lambda: model(waves, "invariant"),
        "variant": lambda: model(waves, "variant"),
        "combined, bfloat16": lambda: fast(waves),
        "front end": lambda: model.frontend(waves),
        "network": lambda: folded(images),
        "embed arrays": lambda: model.embed(pairs, batch_size=n_clips, progress=False),
        "embed files": lambda: model.embed(paths, batch_size=n_clips, progress=False),
        **{path: functools.partial(file, waves) for path, file in files.items()},
        **others(waves),
        "matmul": lambda: square @ square,
    }


def seconds_of(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.no_grad()
def compare(
    model: MTSLVR, n_clips: int, seconds: float, n_repeats: int, exported: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Milliseconds per clip of each contestant and of the floor, and how many times the published way's speed that is."""
    with tempfile.TemporaryDirectory() as folder:
        runs = contestants(model, n_clips, seconds, Path(folder), exported)
        with FlopCounterMode(display=False) as counter:
            model.network.fold()(model.frontend(torch.zeros(n_clips, round(seconds * SAMPLE_RATE))))
        rounds = []
        for i in range(n_repeats + 1):
            order = list(runs)
            random.Random(i).shuffle(order)
            times = {name: 1000 * seconds_of(runs[name]) / n_clips for name in order}
            times["floor"] = times.pop("matmul") * counter.get_total_flops() / (2 * SQUARE**3)
            rounds.append(times)
    names = [*(name for name in runs if name != "matmul"), "floor"]
    return {
        name: {
            "ms_per_clip": median(times[name] for times in rounds[1:]),  # the first round warms up
            "ratio": median(times["published"] / times[name] for times in rounds[1:]),
        }
        for name in names
    }


def cold_start(seconds: float) -> dict[str, float]:
    """Seconds of a fresh process from its first line to the first embedding, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE)), SAMPLE_RATE)
        call = functools.partial(subprocess.run, capture_output=True, text=True, check=True)
        printed = [call([sys.executable, "-c", COLD_START.format(path=path)]).stdout.split() for _ in range(3)]
    names = ("import torch", "load", "first embedding", "in all", "peak MiB")
    return dict(zip(names, (median(map(float, column)) for column in zip(*printed, strict=True)), strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.embed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=["this"], help="of CPU; default: this one as it is")
    parser.add_argument("--model", help="folder or Hub id; the default weights if not given")
    parser.add_argument("--exported", nargs="+", default=[], metavar="FILE.onnx", help="that `mtslvr export` wrote")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="clips at a time")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()}))
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    apart = args.kind != ["this"]
    results = [measured_apart(kind, argv) if apart else measure(args) for kind in args.kind]
    for kind, result in zip(args.kind, results, strict=True):
        result["kind"] = kind
        print(
            f"\n{kind} CPU: {result['machine']}, torch {result['torch']}, {result['cpu']}; clips of {args.seconds:g} s"
        )
        print("cold start, s: " + ", ".join(f"{name} {value:.2f}" for name, value in result["cold_start"].items()))
        columns = [f"{run['threads']} thread(s), batch {run['batch']}" for run in result["runs"]]
        print(f"{'CPU ms/clip, x published':<24}" + "".join(f"{column:>24}" for column in columns))
        for name in result["runs"][0]["results"]:
            cells = [run["results"][name] for run in result["runs"]]
            print(f"{name:<24}" + "".join(f"{cell['ms_per_clip']:15.2f} {cell['ratio']:7.2f}x" for cell in cells))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    model = MTSLVR.from_pretrained(args.model)
    runs = []
    for n_threads in args.threads:
        torch.set_num_threads(n_threads)
        for n_clips in args.batch:
            found = compare(model, n_clips, args.seconds, args.repeats, args.exported)
            runs.append({"threads": n_threads, "batch": n_clips, "results": found})
    return {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cold_start": cold_start(args.seconds),
        "runs": runs,
    }


def measured_apart(kind: str, argv: Sequence[str] | None) -> dict[str, Any]:
    """The same measurement in a process that is held down to a kind of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        arguments = [*(sys.argv[1:] if argv is None else argv), "--kind", "this", "--json", str(path)]
        command = [sys.executable, "-m", "tests.benchmarks.embed", *arguments]
        subprocess.run(command, env=os.environ | KINDS[kind], stdout=subprocess.DEVNULL, check=True)
        return dict(json.loads(path.read_text())[0])


if __name__ == "__main__":
    main()
