"""INT8 by static quantisation (QDQ: activations unsigned, weights signed per channel), from ranges measured beforehand.

The ranges are committed (`calibration/`), so building a model needs no video and gives the same bytes everywhere;
`vigil_models.calibrate` measures them anew when the network changes.
"""

import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from vigil_models.nanodet import PAD
from vigil_models.tfjs import ModelFormatError

OP_TYPES = ["Conv", "LeakyRelu", "MaxPool"]
"""The rest (concatenation, resize, the heads' arithmetic) gains nothing, and the heads would lose precision."""


def quantise(model: onnx.ModelProto, ranges: Path, reader: CalibrationDataReader | None = None) -> onnx.ModelProto:
    """The INT8 twin of `model`; `ranges` is a calibration cache of ONNX Runtime, written from `reader` if absent.

    Weights use 7 bits: without VNNI, x86 adds two u8 x s8 products in 16 bits, and 8-bit weights would overflow there.
    """
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OP_TYPES,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=ranges,
        )
        quantised = onnx.load(target)
    _feed_bytes(quantised)
    quantised.producer_name, quantised.producer_version = model.producer_name, ""
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


@contextmanager
def _without_advice():
    """Silences the quantiser's advice to preprocess the graph, which would change nothing in this one."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _feed_bytes(model: onnx.ModelProto) -> None:
    """Lets the first convolution take the image's bytes as they are.

    Cast, Sub(PAD) and QuantizeLinear undo each other when the scale is 1 and the zero point PAD: a byte stays itself.
    """
    nodes = model.graph.node
    producers = {output: node for node in nodes for output in node.output}
    quantise_node = next(
        (n for n in nodes if n.op_type == "QuantizeLinear" and producers[n.input[0]].op_type == "Sub"), None
    )
    if quantise_node is None:
        raise ModelFormatError("the quantised graph does not quantise the centred image")
    sub = producers[quantise_node.input[0]]
    cast = producers[sub.input[0]]
    parameters = {t.name: t for t in model.graph.initializer}
    scale, zero = quantise_node.input[1:3]
    for name, value in ((scale, np.float32(1)), (zero, np.uint8(PAD))):
        parameters[name].CopyFrom(numpy_helper.from_array(np.array(value), name))
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] == quantise_node.output[0]:
            node.input[0] = cast.input[0]
    for node in (cast, sub, quantise_node):
        nodes.remove(node)
