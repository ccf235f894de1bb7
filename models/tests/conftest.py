"""What scripts/setup must have put in place, and helpers for hand-made graphs."""

from pathlib import Path

import numpy as np
import pytest
from graphs import run_graph

from vigil_models import frames, manifest, tfjs
from vigil_models.convert import Builder, Converter, Tensor
from vigil_models.tfjs import Graph, Node


def from_setup(*parts: str) -> Path:
    """A path in the cache, which must exist."""
    path = manifest.cache_dir().joinpath(*parts)
    if not path.exists():
        pytest.fail(f"{path} is missing; run scripts/setup")
    return path


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of test clips."""
    return from_setup("clips", "vtest.avi").parent


@pytest.fixture(scope="session")
def vtest() -> dict[int, frames.Frame]:
    """The annotated frames of the clip."""
    return dict(frames.clip_frames(from_setup("clips", "vtest.avi"), {90, 260, 430, 640}))


@pytest.fixture(scope="session")
def source_graph() -> Graph:
    """NanoDet-g as the registry package has it."""
    folder = from_setup("sources", "@vladmandic", "human-models-3.0.4", "models")
    return tfjs.load(folder / "nanodet.json")


@pytest.fixture(scope="session")
def test_models() -> Path:
    """The manifest of the hand-made models."""
    return from_setup("test-models", "manifest.toml")


class HandMade:
    """A small TFJS graph with an NCHW input `x`, run through the converter and ONNX Runtime."""

    def __init__(self):
        self.nodes = {"x": Node("x", "Placeholder", (), {})}
        self.constants = {}

    def node(self, name: str, op: str, *inputs, **attrs) -> str:
        """Adds a node; inputs are names or constant values."""
        names = []
        for value in inputs:
            if not isinstance(value, str):
                self.constants[f"c{len(self.constants)}"] = np.asarray(value)
                value = f"c{len(self.constants) - 1}"  # noqa: PLW2901
            names.append(value)
        self.nodes[name] = Node(name, op, tuple(names), attrs)
        return name

    def run(self, output: str, x: np.ndarray) -> np.ndarray:
        """The value of `output`, laid out as TensorFlow would have it."""
        builder = Builder()
        converter = Converter(Graph(self.nodes, self.constants), builder, {"x:0": Tensor("x", x.shape[2:])})
        found = converter.tensor(output)
        if found.name == "x":
            return x.transpose(found.axes)
        value = run_graph(builder, {"x": x}, found.name)
        assert value.shape[2:] == tuple(found.size)
        return value.transpose(found.axes)


@pytest.fixture
def hand_made() -> HandMade:
    """An empty hand-made graph."""
    return HandMade()
