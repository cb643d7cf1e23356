"""An encoder as other benchmarks want it: X-ARES (github.com/jimbozhang/xares) and MTEB (github.com/embeddings-benchmark/mteb).

    python -m xares.run mtslvr.integrations src/tasks/*.py
    mteb.evaluate(MTEBModel(), mteb.get_tasks(modalities=["audio"], exclusive_modality_filter=True))

Neither needs the other's package; `MTEBModel` imports mteb when its metadata is asked for. X-ARES takes the only name in
this module that ends in "Encoder".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtslvr import hear
from mtslvr.encoder.model import MTSLVR, checked_device


class MTSLVREncoder(nn.Module):
    """X-ARES: sounds to a vector for every 50 ms. Its arguments are those of `hear.load_model`.

    `sampling_rate` is in Hz, `output_dim` the number of features D, `hop_size_in_ms` what the frames are apart.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "",
        *,
        space: str = "combined",
        window: float = hear.AROUND,
        hop: float = hear.HOP,
    ) -> None:
        super().__init__()
        self.model = hear.load_model(model, space=space, window=window, hop=hop)
        self.sampling_rate = self.model.sample_rate
        self.output_dim = self.model.timestamp_embedding_size
        self.hop_size_in_ms = 1000 * self.model.n_hop / self.sampling_rate
        self.eval()

    def forward(self, audio: Tensor) -> Tensor:
        """Sounds, float32 [B, samples] -> float32 [B, ceil(samples / hop), D], frame i around i hops. See
        `hear.get_timestamp_embeddings`, also for what is raised."""
        return hear.get_timestamp_embeddings(audio, self.model)[0]


class MTEBModel:
    """MTEB: a vector for each sound, as `MTSLVR.embed` gives it; sounds are compared by cosine.

    Args:
        model: an MTSLVR, or the name of its folder or Hub repository; None takes the default weights.
        revision: of a Hub repository.
        space: "combined" (invariant, then variant), "invariant" or "variant".
        device: where the model runs; None leaves an MTSLVR where it is, and takes the CPU for a name.

    Raises:
        TypeError, ValueError, OSError: as `MTSLVR.from_pretrained`; an unknown space.
    """

    def __init__(
        self,
        model: MTSLVR | str | os.PathLike[str] | None = None,
        revision: str | None = None,
        *,
        space: str = "combined",
        device: str | torch.device | None = None,
    ) -> None:
        if isinstance(model, MTSLVR):
            if revision is not None:
                raise ValueError(
                    f"revision={revision!r} is for Hub repositories, and model is {model}: drop one of them"
                )
            self.name = "given"
            self.encoder = model if device is None else model.to(checked_device(device))
        else:
            self.name = "default" if model is None else os.fspath(model)
            self.encoder = MTSLVR.from_pretrained(model, revision=revision, device=device or "cpu")
        self.encoder.spaces.columns(space)  # refuses an unknown one
        self.space = space

    def encode(self, inputs: Iterable[Mapping[str, Any]], **options: Any) -> np.ndarray:
        """The sounds of all batches, each batch["audio"] a list of clips with their rates -> float32 [n, D].

        Args:
            inputs: batches; MTEB gives a DataLoader.
            options: about the task, which do not matter here.

        Raises:
            ValueError: a batch without "audio"; no batches.
            TypeError, ValueError: as `MTSLVR.embed`.
        """
        vectors = []
        for batch in inputs:
            if "audio" not in batch:
                raise ValueError(f"a batch has {sorted(batch)} and no 'audio': this model embeds only sound")
            vectors.append(self.encoder.embed(list(batch["audio"]), space=self.space, progress=False))
        if not vectors:
            raise ValueError("there are no batches: expected at least one, with 'audio' in it")
        return np.concatenate(vectors)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosine of each with each: [n, D] or [D], and [m, D] or [D] -> float32 [n, m]."""
        return _units(embeddings1) @ _units(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosine of each with its partner: [n, D], [n, D] -> float32 [n]. Raises ValueError for other shapes."""
        ours, theirs = _units(embeddings1), _units(embeddings2)
        if ours.shape != theirs.shape:
            raise ValueError(
                f"embeddings of shapes {list(ours.shape)} and {list(theirs.shape)}: expected pairs, [n, D] of each"
            )
        return (ours * theirs).sum(1)

    @cached_property
    def mteb_model_meta(self) -> Any:
        """What MTEB files results under: the model's name, its fingerprint as the revision, and the space."""
        from mteb.models import ModelMeta

        path = Path(self.name)
        return ModelMeta.create_empty(
            {
                "name": self.name if len(path.parts) == 2 and not path.exists() else f"mtslvr/{path.name}",
                "revision": self.encoder.fingerprint,
                "experiment_kwargs": {"space": self.space},
                "modalities": ["audio"],
                "embed_dim": self.encoder.spaces[self.space],
                "n_parameters": sum(tensor.numel() for tensor in self.encoder.parameters()) or None,  # none: exported
                "framework": ["PyTorch"],
                "similarity_fn_name": "cosine",
            }
        )


def _units(embeddings: Any) -> Tensor:
    """As tensors of length 1, float32 [n, D]."""
    return F.normalize(torch.atleast_2d(torch.as_tensor(embeddings, dtype=torch.float32)))
