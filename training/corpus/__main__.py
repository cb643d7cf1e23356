"""Pack sound for pretraining: python -m training.corpus SOURCE OUT (see reader.py)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from training.corpus.pack import pack
from training.corpus.reader import Corpus


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.corpus", description="Pack sound for pretraining.")
    parser.add_argument("source", help="a folder, or with --layout hub a data set: owner/name[:config[:split]]")
    parser.add_argument("out", type=Path, help="the folder to pack into; an interrupted packing goes on")
    parser.add_argument(
        "--layout",
        default="auto",
        help="auto, folder, parts, fsd50k, audioset or hub (training/corpus/layouts.py); default: %(default)s",
    )
    parser.add_argument(
        "--licence", default="unknown", help="of sound whose collection does not say; default: %(default)s"
    )
    parser.add_argument("--sources", help="CSV of source,licence; default: SOURCE/sources.csv, if there is one")
    parser.add_argument("--workers", type=int, default=2, help="decoding threads; default: %(default)s")
    options = parser.parse_args(arguments)
    pack(options.source, options.out, options.layout, options.licence, options.sources, options.workers)
    corpus = Corpus(options.out)
    print(f"{corpus}, mean {corpus.mean:.2e}, std {corpus.std:.4f}")


if __name__ == "__main__":
    main()
