"""Runs what a converter's builder has collected."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from vigil_models import nanodet
from vigil_models.convert import Builder


def run_graph(builder: Builder, inputs: dict[str, np.ndarray], output: str) -> np.ndarray:
    """The value of the tensor named `output`."""
    graph = helper.make_graph(
        builder.nodes,
        "test",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", nanodet.OPSET)])
    model.ir_version = nanodet.IR_VERSION
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]
