"""MTSLVR: sound in, embeddings out."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from mtslvr.encoder import frontend
from mtslvr.encoder.adapters import AdapterResNet18
from mtslvr.encoder.base import Encoder
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.readout import N_POOLED
from mtslvr.encoder.resnet import ResNet18
from mtslvr.storage import folder, hub
from mtslvr.storage.assets import MODELS
from mtslvr.storage.model_card import model_card

Precision = Literal["float32", "bfloat16"]


class MTSLVR(Encoder):
    """An MT-SLVR encoder (arXiv 2305.17191): clips to embeddings that are invariant to audio augmentations, vary with them, or both.

    Build one with `from_pretrained`. It is an nn.Module: called on waveforms, it gives a differentiable tensor.
    """

    def __init__(
        self, config: EncoderConfig, network: AdapterResNet18 | None = None, precision: Precision = "float32"
    ) -> None:
        """A model with the given network, or with fresh random weights; in eval mode. See `from_pretrained` for `precision`."""
        super().__init__()
        self.config, self.precision = config, precision
        self.frontend = frontend.Frontend(config.mean, config.std, config.eps)
        self.network = network or AdapterResNet18(config.adapter, config.n_heads, config.head_dim, config.readout)
        self._folded: tuple[Any, ResNet18] | None = None
        self._fingerprint: tuple[Any, str] | None = None
        self.eval()

    def __repr__(self) -> str:
        spaces = ", ".join(f"{name} [{width}]" for name, width in self.spaces.items())
        return f"MTSLVR({self.config.adapter}: {spaces}; {self.fingerprint})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickled and copied without its folded form, which is made again where it is needed."""
        return {**self.__dict__, "_folded": None}

    @classmethod
    @torch.inference_mode(False)  # what is loaded within it could never learn
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        device: str | torch.device = "cpu",
        precision: Precision | Literal["auto"] = "float32",
    ) -> MTSLVR:
        """Load a model: one inside the package, a folder, or a repository on the Hugging Face Hub.

        Args:
            pretrained_model_name_or_path: nothing for the default weights, or "self-supervised", which the paper's two tasks alone made
                (both are in the package: no network, no cache); the name of an existing folder; of a file that `mtslvr export` wrote,
                .onnx; or a Hub id "owner/name". See `hub.resolve` for the other arguments.
            device: where the model runs, such as "cpu" or "cuda".
            precision: that the convolutions are computed in. "bfloat16" is about twice as fast where the device has instructions for it
                (Intel from Sapphire Rapids, AMD from Zen 4, GPUs from Ampere), and slow elsewhere; "auto" takes it there. Vectors differ
                slightly from those in float32, and so does the fingerprint: fit and predict in one precision.

        Raises:
            ValueError: no such folder or repository; access refused; files damaged or of another kind of model; no such
                device here.
            OSError: the Hub cannot be reached, and the cache does not hold the model.
        """
        target = checked_device(device)
        if precision not in (*get_args(Precision), "auto"):
            raise ValueError(f"precision is {precision!r}; expected 'float32', 'bfloat16' or 'auto'")
        if precision == "auto":
            precision = "bfloat16" if has_bfloat16(target) else "float32"
        name = "default" if pretrained_model_name_or_path is None else pretrained_model_name_or_path
        if isinstance(name, str) and name in MODELS:
            if revision is not None:
                raise ValueError(f"revision={revision!r} is for Hub repositories; these weights are the package's")
            path = MODELS[name]
        elif str(name).endswith(".onnx"):
            from mtslvr.encoder.exported import Exported

            if precision != "float32":
                raise ValueError(
                    f"precision is {precision!r}, but an ONNX file has the one it was exported with: leave it out"
                )
            return cast(MTSLVR, Exported(name, target))
        else:
            path = hub.resolve(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        content, tensors = folder.read(path)
        config = EncoderConfig.from_json(content, str(path / folder.CONFIG_FILE))
        with torch.device("meta"):
            network = AdapterResNet18(config.adapter, config.n_heads, config.head_dim, config.readout)
        folder.check_tensors(tensors, _saved(network), source=str(path / folder.WEIGHTS_FILE))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False, assign=True)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked = torch.tensor(0)  # not saved: the running statistics use a fixed momentum
        return cls(config, network.requires_grad_(True), precision).to(target)

    @property
    def device(self) -> torch.device:
        return self.frontend.filterbank.device

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify weights, preprocessing and precision: the same fingerprint, the same embeddings."""
        state = self.config, self.precision, self._state()
        if self._fingerprint is None or self._fingerprint[0] != state:
            stored = self._identify(_saved(self.network))
            if self.precision != "float32":
                stored = hashlib.sha256(f"{stored} {self.precision}".encode()).hexdigest()[:16]
            self._fingerprint = state, stored
        return self._fingerprint[1]

    def forward(self, waves: Tensor, space: str = "combined") -> Tensor:
        """Waveforms [B, samples], float32 in -1..1, 16 kHz, more than 512 samples, taken whole -> features [B, D], differentiable.

        In training mode, and wherever gradients are recorded, this runs the adapter network, so that its parameters can learn; else
        its folded form, which gives the same to rounding.

        Raises:
            TypeError, ValueError: another kind of tensor; an unknown space.
        """
        heads = self.spaces.numbers(space)
        if not isinstance(waves, Tensor) or not waves.is_floating_point():
            found = f"a {waves.dtype} tensor" if isinstance(waves, Tensor) else type(waves).__name__
            raise TypeError(
                f"waves is {found}; expected a float32 tensor [B, samples] at 16 kHz. `embed` takes other kinds of sound"
            )
        if waves.ndim != 2 or waves.shape[0] == 0 or waves.shape[1] <= frontend.N_FFT // 2:
            raise ValueError(
                f"waves has shape {list(waves.shape)}; expected [B, samples], with B > 0 and more than {frontend.N_FFT // 2} samples"
            )
        learning = self.training or torch.is_grad_enabled()
        network = self.network if learning or torch._C._get_tracing_state() else self._fold()
        images = self.frontend(waves.float()).to(next(network.parameters()).dtype)
        return cast(Tensor, network(images.contiguous(memory_format=torch.channels_last), heads))

    def save_pretrained(self, save_directory: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write config.json, model.safetensors and README.md (a model card) into a folder.

        Args:
            half: store kernels as float16 and pooled readouts as bfloat16, which packs better (half the size; an embedding changes in
                its fourth digit); batch norm stays float32.

        Raises:
            ValueError: the name is taken by a file.
        """
        self._save(save_directory, half, Path(save_directory).resolve().name)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload model",
        half: bool = False,
    ) -> str:
        """Upload the model to the Hugging Face Hub; returns the commit. See `hub.push` and `save_pretrained`."""
        with tempfile.TemporaryDirectory() as temporary:
            self._save(temporary, half, repo_id)
            return hub.push(
                repo_id, temporary, token=token, private=private, revision=revision, commit_message=commit_message
            )

    def _save(self, save_directory: str | os.PathLike[str], half: bool, name: str) -> None:
        """Write the folder, with a card that loads the model by this name and has the fingerprint of what is stored."""
        tensors = _saved(self.network)
        if half:
            tensors = {name: _halved(tensor) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
        content = self.config.to_json()
        folder.write(save_directory, content, tensors, model_card(content, self.spaces, self._identify(tensors), name))

    def _identify(self, tensors: dict[str, Tensor]) -> str:
        return folder.fingerprint(self.config.identity(), tensors)

    def _fold(self) -> ResNet18:
        """The network folded into plain convolutions; again when its weights have changed or moved."""
        state = self._state()
        if self._folded is None or self._folded[0] != state:
            with torch.random.fork_rng(devices=[]):  # of the first weights of its layers, which are replaced
                folded = self.network.fold().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if self.precision == "bfloat16":
                folded.convolutions_to(torch.bfloat16)
            self._folded = state, folded
        return self._folded[1]

    def _state(self) -> tuple[tuple[int, int], ...]:
        """Changes when a weight changes or moves.

        Edits through `.data`, which torch does not count, are not seen: edit under torch.no_grad() instead.
        """
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        return tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; elsewhere it would be emulated, at a fifth of the speed."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private; a torch without them gets float32
    return device.type == "cpu" and any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def checked_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device is {device!r}, which cannot be used here: {reason}. Try 'cpu'") from error


def _halved(weight: Tensor) -> Tensor:
    return weight.to(torch.bfloat16 if weight.shape[1] == N_POOLED else torch.float16)


def _saved(network: nn.Module) -> dict[str, Tensor]:
    """The tensors that make the network."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
