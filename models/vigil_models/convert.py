"""Converts the operations of a TFJS graph to ONNX, exactly.

TensorFlow's convolutions want NHWC, so a graph that came from PyTorch is full of transpositions. Here every tensor
stays NCHW: a `Tensor` remembers which of its NCHW axes each TensorFlow axis is, and a Transpose only changes that
memory. Padding is remembered in the same way until a convolution or a pooling takes it in.

Sizes written into the source graph (resize targets) become ratios, so that the result runs at any input size that all
strides divide.
"""

from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vigil_models.tfjs import Graph, ModelFormatError, Node

_NCHW = (0, 1, 2, 3)
_NHWC = (0, 2, 3, 1)
_NO_PADS = ((0, 0), (0, 0), (0, 0), (0, 0))


@dataclass(frozen=True)
class Tensor:
    """A value of the source graph, and where it lives in the ONNX graph."""

    name: str
    """Name in the ONNX graph; laid out NCHW."""
    size: tuple[int, int]
    """Height and width in the source graph."""
    axes: tuple[int, ...] = _NCHW
    """`axes[i]` is the NCHW axis that is TensorFlow's axis i."""
    pads: tuple[tuple[int, int], ...] = _NO_PADS
    """Padding not yet applied, per NCHW axis: before, after."""
    pad_value: float = 0.0


class Builder:
    """Collects the nodes and initializers of an ONNX graph, with unique names."""

    def __init__(self):
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, op: str, inputs: list[str], outputs: list[str] | None = None, **attrs) -> str:
        """Appends a node and returns the name of its first output."""
        label = f"{op}_{len(self.nodes)}"
        outputs = outputs or [label]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=label, **attrs))
        return outputs[0]

    def constant(self, values: np.ndarray) -> str:
        """Appends an initializer and returns its name; 0-d arrays stay 0-d (np.ascontiguousarray makes them 1-d)."""
        name = f"const_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name


class Converter:
    """Walks a source graph from the wanted tensors back to its input and emits each operation once."""

    def __init__(self, graph: Graph, builder: Builder, inputs: dict[str, Tensor]):
        self._graph = graph
        self._builder = builder
        self._done = dict(inputs)

    def tensor(self, reference: str) -> Tensor:
        """The ONNX twin of a source tensor, named as TensorFlow does: `node` or `node:output`."""
        name, _, output = reference.partition(":")
        key = f"{name}:{output or 0}"
        for step in self._order(name):
            outputs = self._emit(self._graph.nodes[step])
            self._done |= {f"{step}:{i}": value for i, value in enumerate(outputs)}
        if key not in self._done:
            raise ModelFormatError(f"node {name} has no output {output}")
        return self._done[key]

    def _order(self, name: str) -> list[str]:
        """Ancestors of `name` not yet emitted, each after those it needs; iterative, for graphs of any depth."""
        order, seen, stack = [], set(), [(name, False)]
        while stack:
            current, expanded = stack.pop()
            if expanded:
                order.append(current)
            elif current not in seen and f"{current}:0" not in self._done and current not in self._graph.constants:
                if current not in self._graph.nodes:
                    raise ModelFormatError(f"the graph has no node {current}")
                seen.add(current)
                stack.append((current, True))
                stack += [(i.partition(":")[0], False) for i in self._graph.nodes[current].inputs]
        return order

    def _emit(self, node: Node) -> list[Tensor]:
        handler = getattr(self, f"_op_{node.op.lower()}", None)
        if handler is None:
            raise ModelFormatError(f"node {node.name}: operation {node.op} is not supported by the converter")
        return handler(node)

    def _input(self, node: Node, index: int) -> Tensor:
        name, _, output = node.inputs[index].partition(":")
        return self._done[f"{name}:{output or 0}"]

    def _plain(self, node: Node, index: int) -> Tensor:
        """An input for an operation that cannot take padding in."""
        tensor = self._input(node, index)
        if tensor.pads != _NO_PADS:
            raise ModelFormatError(f"node {node.name}: {node.op} after a Pad is not supported by the converter")
        return tensor

    def _constant(self, node: Node, index: int) -> np.ndarray:
        name = node.inputs[index]
        if name not in self._graph.constants:
            raise ModelFormatError(f"node {node.name}: input {index} ({name}) must be a constant")
        return self._graph.constants[name]

    def _op_transpose(self, node: Node) -> list[Tensor]:
        tensor = self._input(node, 0)
        return [replace(tensor, axes=tuple(tensor.axes[i] for i in self._constant(node, 1)))]

    def _op_pad(self, node: Node, value: float = 0.0) -> list[Tensor]:
        tensor = self._plain(node, 0)
        pads = list(_NO_PADS)
        for axis, (before, after) in enumerate(self._constant(node, 1).tolist()):
            pads[tensor.axes[axis]] = (before, after)
        return [replace(tensor, pads=tuple(pads), pad_value=value)]

    def _op_padv2(self, node: Node) -> list[Tensor]:
        return self._op_pad(node, float(self._constant(node, 2)))

    def _op_conv2d(self, node: Node) -> list[Tensor]:
        tensor = self._window_input(node, pad_value=0.0)
        weights = self._constant(node, 1).transpose(3, 2, 0, 1)
        window = self._window(tensor, weights.shape[2:], node.attrs["strides"], node.attrs.get("dilations"))
        name = self._builder.add("Conv", [tensor.name, self._builder.constant(weights)], **window)
        return [Tensor(name, _output_size(tensor, window), _NHWC)]

    def _op_maxpool(self, node: Node) -> list[Tensor]:
        tensor = self._window_input(node, pad_value=-np.inf)
        window = self._window(tensor, node.attrs["ksize"][1:3], node.attrs["strides"], None)
        del window["dilations"]
        return [Tensor(self._builder.add("MaxPool", [tensor.name], **window), _output_size(tensor, window), _NHWC)]

    def _window_input(self, node: Node, pad_value: float) -> Tensor:
        tensor = self._input(node, 0)
        if node.attrs.get("data_format", "NHWC") != "NHWC" or tensor.axes != _NHWC:
            raise ModelFormatError(f"node {node.name}: {node.op} on a tensor that is not NHWC")
        if node.attrs["padding"] != "VALID":
            raise ModelFormatError(f"node {node.name}: padding {node.attrs['padding']}, expected Pad and VALID")
        if tensor.pads[:2] != _NO_PADS[:2] or (tensor.pads != _NO_PADS and tensor.pad_value != pad_value):
            raise ModelFormatError(f"node {node.name}: {node.op} cannot take in a padding of {tensor.pad_value}")
        return tensor

    def _window(self, tensor: Tensor, kernel, strides: list[int], dilations: list[int] | None) -> dict:
        (top, bottom), (left, right) = tensor.pads[2:]
        return {
            "kernel_shape": [int(k) for k in kernel],
            "strides": strides[1:3],
            "dilations": (dilations or [1, 1, 1, 1])[1:3],
            "pads": [top, left, bottom, right],
        }

    def _op_add(self, node: Node) -> list[Tensor]:
        if node.inputs[1] in self._graph.constants:
            return self._bias(node)
        first, second = self._plain(node, 0), self._plain(node, 1)
        self._same_layout(node, [first, second])
        return [replace(first, name=self._builder.add("Add", [first.name, second.name]))]

    def _bias(self, node: Node) -> list[Tensor]:
        """A constant added to a convolution, per channel, becomes the convolution's bias."""
        tensor, bias = self._plain(node, 0), self._constant(node, 1)
        producer = next((n for n in self._builder.nodes if tensor.name in n.output), None)
        if producer is None or producer.op_type != "Conv" or len(producer.input) != 2 or bias.ndim != 1:
            raise ModelFormatError(f"node {node.name}: only a bias per channel after a convolution is supported")
        producer.input.append(self._builder.constant(bias))
        return [tensor]

    def _op_leakyrelu(self, node: Node) -> list[Tensor]:
        tensor = self._plain(node, 0)
        return [replace(tensor, name=self._builder.add("LeakyRelu", [tensor.name], alpha=float(node.attrs["alpha"])))]

    def _op_sigmoid(self, node: Node) -> list[Tensor]:
        tensor = self._plain(node, 0)
        return [replace(tensor, name=self._builder.add("Sigmoid", [tensor.name]))]

    def _op_concatv2(self, node: Node) -> list[Tensor]:
        tensors = [self._plain(node, i) for i in range(len(node.inputs) - 1)]
        self._same_layout(node, tensors)
        axis = tensors[0].axes[int(self._constant(node, len(tensors)))]
        if axis != 1:
            raise ModelFormatError(f"node {node.name}: concatenation along axis {axis} of NCHW, expected 1")
        return [replace(tensors[0], name=self._builder.add("Concat", [t.name for t in tensors], axis=axis))]

    def _op_splitv(self, node: Node) -> list[Tensor]:
        tensor, sizes = self._plain(node, 0), self._constant(node, 1)
        axis = tensor.axes[int(self._constant(node, 2))]
        if axis != 1:
            raise ModelFormatError(f"node {node.name}: split along axis {axis} of NCHW, expected 1")
        names = [f"{tensor.name}_part{i}" for i in range(len(sizes))]
        self._builder.add("Split", [tensor.name, self._builder.constant(sizes.astype(np.int64))], names, axis=axis)
        return [replace(tensor, name=name) for name in names]

    def _op_resizebilinear(self, node: Node) -> list[Tensor]:
        tensor = self._plain(node, 0)
        if tensor.axes != _NHWC or not node.attrs["half_pixel_centers"] or node.attrs["align_corners"]:
            raise ModelFormatError(f"node {node.name}: expected an NHWC resize with half_pixel_centers")
        size = tuple(int(v) for v in self._constant(node, 1))
        ratio = [1.0, 1.0, size[0] / tensor.size[0], size[1] / tensor.size[1]]
        scales = self._builder.constant(np.array(ratio, np.float32))
        mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return [Tensor(self._builder.add("Resize", [tensor.name, "", scales], **mode), size, _NHWC)]

    def _same_layout(self, node: Node, tensors: list[Tensor]) -> None:
        layouts = {(t.axes, t.size) for t in tensors}
        if len(layouts) != 1:
            raise ModelFormatError(f"node {node.name}: {node.op} of tensors laid out differently: {sorted(layouts)}")


def _output_size(tensor: Tensor, window: dict) -> tuple[int, int]:
    height, width = (
        (size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, kernel, stride, dilation in zip(
            tensor.size,
            tensor.pads[2:],
            window["kernel_shape"],
            window["strides"],
            window.get("dilations", (1, 1)),
            strict=True,
        )
    )
    return height, width
