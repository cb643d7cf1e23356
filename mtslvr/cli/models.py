"""mtslvr info, export and convert: models themselves."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import mtslvr
from mtslvr.cli.options import Commands, load_classifier, load_model
from mtslvr.sound.files import find_sounds
from mtslvr.storage.assets import MODELS

STATISTICS = {
    "audioset": (-0.00029522, 0.11652075),
    "fsd50k": (-4.8055e-05, 0.0684828),
}  # paper, of the authors' pretraining sets


def add_commands(commands: Commands) -> None:
    command = commands.add("info", info, "say what a model is")
    command.add_argument("--json", action="store_true", help="as JSON (default: as text)")

    command = commands.add("export", export, "write a model as one ONNX file, sound to embeddings")
    command.add_argument("-o", "--out", required=True, type=Path, help="file to write, .onnx")
    command.add_argument(
        "--classifier", metavar="CLASSIFIER", help="put this classifier of its into the file too (default: none)"
    )
    command.add_argument(
        "--calibrate",
        type=Path,
        metavar="FOLDER",
        help="compute in int8, with ranges measured on these sounds (default: in float32)",
    )

    command = commands.add("convert", convert, "convert a checkpoint of the paper's authors", model=False)
    command.add_argument("checkpoint", metavar="AUTHORS.pt")
    command.add_argument("folder", metavar="FOLDER", help="model folder to write")
    command.add_argument(
        "--statistics", choices=sorted(STATISTICS), default="audioset", help="what it was pretrained on"
    )


def info(args: Namespace) -> int:
    """Say what a model is."""
    model = load_model(args)
    description = {
        "mtslvr": mtslvr.__version__,
        "model": args.model or "default",
        "models in the package": ", ".join(MODELS),
        "fingerprint": model.fingerprint,
        "spaces": dict(model.spaces),
    }
    if args.json:
        print(json.dumps(description | model.config.to_json(), indent=2))
        return 0
    content = model.config.to_json()
    sections = {
        "": description,
        "network": content["network"],
        "preprocessing": content["preprocessing"],
        "training": content["training"],
    }
    for title, section in sections.items():
        if title:
            print(f"\n{title}")
        for name, value in section.items():
            if isinstance(value, list) or name.endswith("_command"):
                continue  # tables, and what gives them: they are in the model card
            shown = (
                ", ".join(f"{space} [{width}]" for space, width in value.items()) if isinstance(value, dict) else value
            )
            print(f"  {name.replace('_', ' '):<28} {shown}")
    return 0


def export(args: Namespace) -> int:
    """Write a model as an ONNX file."""
    from mtslvr.export import export
    from mtslvr.export_classifier import export_classifier

    sounds = None if args.calibrate is None else find_sounds([args.calibrate])
    precision, classes = "float32" if sounds is None else "int8", ""
    if args.classifier is None:
        fingerprint = export(load_model(args), args.out, calibrate=sounds)
    else:
        classifier = load_classifier(args)
        fingerprint = export_classifier(classifier, args.out, calibrate=sounds)
        classes = f"{len(classifier.classes_)} classes, "
    print(f"{args.out}: {classes}{precision}, {args.out.stat().st_size / 1e6:.0f} MB, fingerprint {fingerprint}")
    return 0


def convert(args: Namespace) -> int:
    """Convert a checkpoint of the authors to a model folder."""
    from mtslvr.encoder.config import EncoderConfig
    from mtslvr.encoder.convert import read_authors_checkpoint
    from mtslvr.encoder.model import MTSLVR

    network, left_over = read_authors_checkpoint(args.checkpoint)
    mean, std = STATISTICS[args.statistics]
    summary = {
        "summary": f"Converted from the authors' checkpoint {Path(args.checkpoint).name} (MT-SLVR, arXiv 2305.17191).",
        "sound": args.statistics,
    }
    model = MTSLVR(EncoderConfig(network.adapter, network.n_heads, network.head_dim, mean, std, summary), network)
    model.save_pretrained(args.folder)
    print(
        f"{args.folder}: adapter {network.adapter}, {network.n_heads} head(s) of {network.head_dim}, fingerprint {model.fingerprint}"
    )
    if left_over:
        print(f"left out {len(left_over)} tensors that are no part of the encoder, such as {left_over[0]}")
    return 0
