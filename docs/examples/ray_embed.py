"""Embed a folder of sound, here or in a bucket, with the workers of a Ray cluster.

    pip install "mtslvr[ray]"
    python docs/examples/ray_embed.py s3://bucket/recordings embeddings/ --workers 8

Writes a folder of Parquet files with the columns path, embedding (null for a bad file) and error (null for a good one).
"""

from __future__ import annotations

import argparse

import pyarrow as pa
import ray

import mtslvr
from mtslvr.encoder import batching
from mtslvr.sound.files import SOUND_SUFFIXES

SCHEMA = pa.schema({"path": pa.string(), "embedding": pa.list_(pa.float32()), "error": pa.string()})


class Embedder:
    """A worker: it loads the model once, and turns batches of files into rows of the table."""

    def __init__(self, model: str | None, space: str, device: str) -> None:
        self.model = mtslvr.MTSLVR.from_pretrained(model, device=device)
        self.space = space

    def __call__(self, files: pa.Table) -> pa.Table:
        paths, contents = files["path"].to_pylist(), files["bytes"].to_pylist()
        errors: dict[int, str] = {}
        clips = zip(paths, contents, strict=True)
        found = batching.embed(self.model, clips, self.space, 16, lambda i, error: errors.update({i: str(error)}))
        vectors = dict(found)
        rows = [{"path": path, "embedding": vectors.get(i), "error": errors.get(i)} for i, path in enumerate(paths)]
        return pa.Table.from_pylist(rows, SCHEMA)


def embed(
    sounds: str,
    out: str,
    *,
    n_workers: int,
    model: str | None = None,
    space: str = "combined",
    gpu: bool = False,
    worker: type[Embedder] = Embedder,
) -> None:
    """Read, embed and write, batch by batch; a batch whose worker dies is done again by another.

    Args:
        sounds: folder or address that Ray can read.
        out: folder or address for the Parquet files.
        n_workers: processes, each with a model of its own, and a GPU if `gpu`.
    """
    suffixes = sorted(suffix.removeprefix(".") for suffix in SOUND_SUFFIXES)
    files = ray.data.read_binary_files(sounds, include_paths=True, file_extensions=suffixes)
    table = files.map_batches(
        worker,
        fn_constructor_args=(model, space, "cuda" if gpu else "cpu"),
        batch_size=64,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=n_workers),
        num_cpus=None if gpu else 1,
        num_gpus=1 if gpu else None,
    )
    table.write_parquet(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", metavar="SOUNDS")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--space", default="combined", choices=["combined", "invariant", "variant"])
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    args = parser.parse_args()
    embed(args.sounds, args.out, n_workers=args.workers, model=args.model, space=args.space, gpu=args.gpu)


if __name__ == "__main__":
    main()
