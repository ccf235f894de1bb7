"""Builds the default detector: NanoDet-g, its normalisation in front and its box decoding behind, as one ONNX graph.

In: uint8 [N, H, W, 3], R'G'B', H and W any multiples of 32. Out: float32 [N, 84, A], centre x, centre y, width, height
in input pixels, then 80 class probabilities; the tensor that YOLOv8 exports have, so that one decoder serves both.

NanoDet (https://github.com/RangiLyu/nanodet) predicts, per cell and side, a distribution over 11 distances (Generalized
Focal Loss, Li et al., NeurIPS 2020); the distance is its mean, in strides.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vigil_models.convert import Builder, Converter, Tensor
from vigil_models.tfjs import Graph, ModelFormatError

SOURCE_SIZE = 416
STRIDES = (8, 16, 32)
CLASSES = 80
BINS = 11
PAD = 114
"""Letterbox grey, and the value that the graph subtracts from every channel."""

MEAN_BGR = np.array([103.53, 116.28, 123.675])
STD_BGR = np.array([57.375, 57.12, 58.395])

OPSET = 17
IR_VERSION = 8
"""The lowest that opset 17 allows; newer ones lock out older runtimes for nothing."""


@dataclass(frozen=True)
class Head:
    """Names of one stride's tensors in the source graph."""

    scores: str
    distances: str


HEADS = tuple(
    Head(f"PartitionedCall/onnx_tf_prefix_Sigmoid_{sigmoid}", f"PartitionedCall/onnx_tf_prefix_Split_{split}:1")
    for sigmoid, split in ((154, 153), (165, 164), (176, 175))
)


def build(graph: Graph) -> onnx.ModelProto:
    """The detector, for canvases of any size whose sides are multiples of 32."""
    builder = Builder()
    start = Tensor(_centred(builder), (SOURCE_SIZE, SOURCE_SIZE))
    converter = Converter(graph, builder, {"input_1:0": start})
    # The network first, then what reads its heads: so the names that the calibration knows hang on the network alone.
    heads = [(converter.tensor(head.scores).name, converter.tensor(head.distances).name) for head in HEADS]
    _fold_normalisation(builder, start.name)
    levels = []
    for (scores, distances), stride in zip(heads, STRIDES, strict=True):
        levels.append(builder.add("Concat", [_boxes(builder, distances, stride), _flat(builder, scores)], axis=1))
    builder.add("Concat", levels, ["detections"], axis=2)
    return _model(builder)


def _centred(builder: Builder) -> str:
    """uint8 NHWC to float NCHW around the letterbox grey. A quantised Conv takes all three steps in at no cost."""
    nchw = builder.add("Transpose", ["image"], perm=[0, 3, 1, 2])
    real = builder.add("Cast", [nchw], to=TensorProto.FLOAT)
    return builder.add("Sub", [real, builder.constant(np.array(PAD, np.float32))])


def _fold_normalisation(builder: Builder, start: str) -> None:
    """Moves (BGR - mean) / std, and the swap from RGB, into the first convolution.

    Exact but for the outermost pixel: the convolution's zero padding now stands for the letterbox grey instead of the
    mean, at most a fifth of a standard deviation away.
    """
    consumers = [node for node in builder.nodes if start in node.input]
    if [node.op_type for node in consumers] != ["Conv"]:
        raise ModelFormatError(f"the image must go into one convolution, found {[n.op_type for n in consumers]}")
    weights, bias = (_initializer(builder, name) for name in consumers[0].input[1:])
    original = numpy_helper.to_array(weights).astype(np.float64)
    scaled = original / STD_BGR[None, :, None, None]
    shift = (scaled * (PAD - MEAN_BGR)[None, :, None, None]).sum(axis=(1, 2, 3))
    _replace(weights, scaled[:, ::-1])
    _replace(bias, numpy_helper.to_array(bias) + shift)


def _initializer(builder: Builder, name: str) -> TensorProto:
    return next(tensor for tensor in builder.initializers if tensor.name == name)


def _replace(tensor: TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.array(values, np.float32, order="C"), tensor.name))


def _flat(builder: Builder, name: str) -> str:
    """[N, 80, rows, columns] to [N, 80, cells]."""
    return builder.add("Reshape", [name, builder.constant(np.array([0, CLASSES, -1], np.int64))])


def _boxes(builder: Builder, distances: str, stride: int) -> str:
    """[N, 44, rows, columns] logits (left, top, right, bottom x 11 bins) to [N, 4, cells] boxes."""
    by_side = builder.constant(np.array([0, 4, BINS, -1], np.int64))
    shares = builder.add("Softmax", [builder.add("Reshape", [distances, by_side])], axis=2)
    flat = builder.constant(np.array([0, 4 * BINS, -1], np.int64))
    mean_to_box = builder.constant(np.kron(_SIDES_TO_BOX * stride, np.arange(BINS)).astype(np.float32))
    offsets = builder.add("MatMul", [mean_to_box, builder.add("Reshape", [shares, flat])])
    return builder.add("Add", [offsets, _centres(builder, distances, stride)])


_SIDES_TO_BOX = np.array([[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1]])
"""Left, top, right, bottom distances to centre offset x, y, width, height."""


def _centres(builder: Builder, distances: str, stride: int) -> str:
    """[4, cells]: the cells' centres in pixels, and zeros for the sizes; row by row, for as many cells as there are."""
    integer = partial(np.array, dtype=np.int64)
    shape = builder.add("Shape", [distances])
    zero, one = builder.constant(integer(0)), builder.constant(integer(1))

    def along(axis: int) -> str:
        count = builder.add("Gather", [shape, builder.constant(integer(axis))], axis=0)
        cells = builder.add("Cast", [builder.add("Range", [zero, count, one])], to=TensorProto.FLOAT)
        middle = builder.add("Add", [cells, builder.constant(np.array(0.5, np.float32))])
        return builder.add("Mul", [middle, builder.constant(np.array(stride, np.float32))])

    def spread(line: str, axis: int) -> str:
        unfolded = builder.add("Unsqueeze", [line, builder.constant(integer([axis]))])
        grid = builder.add("Expand", [unfolded, builder.add("Slice", [shape, *rows_and_columns])])
        return builder.add("Reshape", [grid, builder.constant(integer([1, -1]))])

    rows_and_columns = [builder.constant(integer([bound])) for bound in (2, 4)]
    across, down = spread(along(3), 0), spread(along(2), 1)
    nothing = builder.add("Sub", [across, across])
    return builder.add("Concat", [across, down, nothing, nothing], axis=0)


def _model(builder: Builder) -> onnx.ModelProto:
    graph = helper.make_graph(
        builder.nodes,
        "nanodet-g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["N", 4 + CLASSES, "A"])],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="vigil")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
