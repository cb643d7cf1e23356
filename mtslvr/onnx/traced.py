"""A model as an ONNX graph: the folded network behind a front end without complex numbers, traced by torch and simplified."""

from __future__ import annotations

import copy
import logging
import math
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtslvr.encoder.frontend import HOP, N_FFT, Frontend
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.resnet import PooledShortcut, ResNet18
from mtslvr.sound.stream import SAMPLE_RATE

if TYPE_CHECKING:
    from onnx import ModelProto

INSTALL = 'exporting needs ONNX: pip install "mtslvr[onnx]"'
INPUT = "waves"
OPSET = 18


def traced(model: MTSLVR) -> ModelProto:
    """The graph, in float32: INPUT to the features of each space. Raises ImportError where the extra is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(INSTALL) from error
    level = (logger := logging.getLogger("torch.onnx")).level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                Graph(model).eval(),
                (torch.zeros(2, 2 * SAMPLE_RATE),),
                dynamo=True,
                dynamic_shapes=({0: "batch", 1: "samples"},),
                input_names=[INPUT],
                output_names=list(model.spaces),
                opset_version=OPSET,
                external_data=False,
                optimize=False,  # it takes the 2e-16 in the logarithms for 0
                verbose=False,
            )
        finally:
            logger.setLevel(level)
    assert program is not None
    return _simplified(program.model_proto)


class RealFrontend(Frontend):
    """The front end without complex numbers, which ONNX lacks, and without its DFT, which is slow, and not exact on silence.

    The transform is a matrix product of half the size: x[n] and x[1024 - n] share a cosine and, but for the sign, a sine.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, mean: float, std: float, eps: float) -> None:
        super().__init__(mean, std, eps)
        n, k = torch.arange(N_FFT // 2 + 1)[:, None], torch.arange(N_FFT // 2 + 1)
        angles = 2 * math.pi / N_FFT * (n * k % N_FFT).double()
        self.register_buffer("cosines", angles.cos().float())  # [n, k], each 0..512
        self.register_buffer("sines", -angles.sin()[1:-1].float())

    def forward(self, waves: Tensor) -> Tensor:
        return self._image(waves)

    def _spectrum(self, waves: Tensor) -> Tensor:
        padded = F.pad(waves[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0]
        hops = padded[:, : padded.shape[1] // HOP * HOP].unflatten(1, (-1, HOP))
        frames = torch.cat([hops[:, :-1], hops[:, 1:]], -1)  # a frame is two hops: [B, T, 1024]
        # A constant is put into bin 0 by hand: silence leaves the others exactly 0, as in an FFT, and their logarithm low.
        constant = frames[..., :1]
        frames = frames - constant
        middle = N_FFT // 2
        left, right = frames[..., 1:middle], frames[..., middle + 1 :].flip(-1)
        real = torch.cat([frames[..., :1], left + right, frames[..., middle : middle + 1]], -1) @ self.cosines
        real = torch.cat([real[..., :1] + N_FFT * constant, real[..., 1:]], -1)
        imag = F.pad(((left - right) @ self.sines)[:, 1:], (0, 0, 1, 0))
        return torch.stack([real, imag], 1)

    @staticmethod
    def _angle(imag: Tensor, real: Tensor) -> Tensor:
        """atan2, of which ONNX has half: what the exporter makes of it is -pi for atan2(0, -1)."""
        angle = torch.atan(imag / real.abs())
        return torch.where(real < 0, torch.where(imag < 0, -math.pi, math.pi) - angle, angle)


class AnyLength(nn.Module):
    """PooledShortcut as a matrix product, for maps whose number of frames is not known yet. Rows are even in number."""

    def __init__(self, n_new: int) -> None:
        super().__init__()
        self.n_new = n_new

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        half = (size + 1) // 2
        frame, out = torch.arange(size)[:, None], torch.arange(half)
        # Frames i size / half, rounded down, to (i + 1) size / half, rounded up, make up output i: as adaptive_avg_pool2d.
        belongs = ((frame + 1) * half > out * size) & (frame * half < (out + 1) * size)
        weights = belongs.to(x.dtype)
        weights = weights / weights.sum(0)
        return F.pad(F.avg_pool2d(x, (2, 1)) @ weights, (0, 0, 0, 0, 0, self.n_new))


class Graph(nn.Module):
    """Waveforms [B, samples] to the features of each space."""

    def __init__(self, model: MTSLVR) -> None:
        super().__init__()
        self.frontend = RealFrontend(model.config.mean, model.config.std, model.config.eps)
        self.network: ResNet18 = copy.deepcopy(model.network).cpu().float().fold()
        for block in list(self.network.modules()):
            if isinstance(shortcut := getattr(block, "shortcut", None), PooledShortcut):
                block.shortcut = AnyLength(shortcut.n_new)

    def forward(self, waves: Tensor) -> tuple[Tensor, ...]:
        combined = self.network(self.frontend(waves))
        heads = combined.chunk(len(self.network.branches), 1)
        return (combined, *heads) if len(heads) > 1 else heads


def _simplified(graph: ModelProto) -> ModelProto:
    """The graph with what is constant computed, by ONNX Runtime."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "simplified.onnx"))
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)
