"""Reads a TensorFlow.js graph model (`model.json` and its weight shards) without TensorFlow.

Format: https://github.com/tensorflow/tfjs, converter/python/tensorflowjs/converters/common.py and write_weights.py.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_STORED = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


class ModelFormatError(Exception):
    """The source model is not what the converter was written for; the message says where."""


@dataclass(frozen=True)
class Node:
    """One operation of the graph, its attributes decoded to plain Python values."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: dict


@dataclass(frozen=True)
class Graph:
    """Operations by name, and constants by name (fp16 weights widened to fp32; shapes kept, 0-d included)."""

    nodes: dict[str, Node]
    constants: dict[str, np.ndarray]


def load(path: Path) -> Graph:
    """Reads `path` (the JSON) and the weight files beside it."""
    model = json.loads(path.read_text())
    if model.get("format") != "graph-model":
        raise ModelFormatError(f"{path}: format is {model.get('format')!r}, expected 'graph-model'")
    constants = {}
    for group in model["weightsManifest"]:
        data = b"".join((path.parent / shard).read_bytes() for shard in group["paths"])
        constants |= _constants(group["weights"], data, path)
    nodes = {
        raw["name"]: Node(
            raw["name"],
            raw["op"],
            tuple(raw.get("input", ())),
            {key: _attribute(value) for key, value in raw.get("attr", {}).items()},
        )
        for raw in model["modelTopology"]["node"]
    }
    return Graph(nodes, constants)


def _constants(weights: list[dict], data: bytes, path: Path) -> dict[str, np.ndarray]:
    constants, offset = {}, 0
    for weight in weights:
        stored = weight.get("quantization", weight)["dtype"]
        if stored not in _STORED:
            raise ModelFormatError(f"{path}: weight {weight['name']} is stored as {stored}, expected {list(_STORED)}")
        count = int(np.prod(weight["shape"], dtype=np.int64))
        size = count * _STORED[stored].itemsize
        if offset + size > len(data):
            raise ModelFormatError(f"{path}: the weight file ends at {len(data)} bytes, inside {weight['name']}")
        values = np.frombuffer(data, _STORED[stored], count, offset).astype(weight["dtype"])
        constants[weight["name"]] = values.reshape(weight["shape"])
        offset += size
    if offset != len(data):
        raise ModelFormatError(f"{path}: {len(data) - offset} bytes of the weight file belong to no weight")
    return constants


def _attribute(value: dict):
    if "list" in value:
        return [int(i) for i in value["list"].get("i", ())]
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    if "i" in value:
        return int(value["i"])
    return next(iter(value.values()), None)
