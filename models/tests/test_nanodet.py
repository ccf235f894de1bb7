"""The default detector: what is put in front of the network and behind it."""

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import run_graph
from onnx import TensorProto, numpy_helper

from vigil_models import build, manifest, nanodet, tfjs
from vigil_models.convert import Builder, Converter, Tensor


def test_distances_become_boxes_around_cell_centres():
    builder = Builder()
    output = nanodet._boxes(builder, "distances", stride=8)
    logits = np.full((1, 4, nanodet.BINS, 2, 3), -50, np.float32)
    for side, strides_away in enumerate((1, 2, 3, 4)):  # left, top, right, bottom: all weight on one bin
        logits[0, side, strides_away] = 50
    logits[0, 0, :, 1, 2] = 0  # even weight on 0..10: the mean is 5
    boxes = run_graph(builder, {"distances": logits.reshape(1, 44, 2, 3)}, output)
    assert boxes.shape == (1, 4, 6)
    # first cell: centre (4, 4), 8 left, 16 up, 24 right, 32 down
    np.testing.assert_allclose(boxes[0, :, 0], [4 + (24 - 8) / 2, 4 + (32 - 16) / 2, 32, 48], rtol=1e-5)
    # last cell: row 1, column 2, centre (20, 12), 40 left
    np.testing.assert_allclose(boxes[0, :, 5], [20 + (24 - 40) / 2, 12 + (32 - 16) / 2, 64, 48], rtol=1e-5)


def test_folded_normalisation_equals_the_written_one_inside_the_picture():
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
    nodes = {
        "t": tfjs.Node("t", "Transpose", ("x", "perm"), {}),
        "c": tfjs.Node("c", "Conv2D", ("t", "w"), {"strides": [1, 1, 1, 1], "padding": "VALID"}),
        "b": tfjs.Node("b", "Add", ("c", "bias"), {}),
    }
    graph = tfjs.Graph(nodes, {"perm": np.array([0, 2, 3, 1]), "w": weights, "bias": rng.normal(size=4).astype("f4")})
    image = rng.integers(0, 256, (1, 8, 9, 3), np.uint8)

    plain = Builder()
    expected_name = Converter(graph, plain, {"x:0": Tensor("x", (8, 9))}).tensor("b").name
    normalised = (image[..., ::-1] - nanodet.MEAN_BGR) / nanodet.STD_BGR
    expected = run_graph(plain, {"x": normalised.transpose(0, 3, 1, 2).astype(np.float32)}, expected_name)

    folded = Builder()
    start = nanodet._centred(folded)
    found_name = Converter(graph, folded, {"x:0": Tensor(start, (8, 9))}).tensor("b").name
    nanodet._fold_normalisation(folded, start)
    np.testing.assert_allclose(run_graph(folded, {"image": image}, found_name), expected, rtol=1e-3, atol=1e-3)


def test_the_class_part_is_a_probability_and_any_batch_size_runs(source_graph):
    model = nanodet.build(source_graph)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(4).integers(0, 256, (3, 64, 96, 3), np.uint8)
    together = session.run(None, {"image": images})[0]
    assert together.shape == (3, 84, 8 * 12 + 4 * 6 + 2 * 3)
    assert together[:, 4:].min() >= 0
    assert together[:, 4:].max() <= 1
    alone = session.run(None, {"image": images[1:2]})[0]
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-3, atol=1e-3)


def test_every_size_that_the_strides_divide_runs(source_graph):
    session = onnxruntime.InferenceSession(nanodet.build(source_graph).SerializeToString())
    for height, width in ((32, 32), (96, 64), (320, 544)):
        found = session.run(None, {"image": np.zeros((1, height, width, 3), np.uint8)})[0]
        assert found.shape == (1, 84, sum((height // s) * (width // s) for s in nanodet.STRIDES))


def test_int8_takes_bytes_straight_into_the_first_convolution(source_graph):
    model = next(m for m in manifest.load_all(manifest.default_manifest()) if m.name.endswith("-int8"))
    network = onnx.load_from_string(build.build(source_graph, model))
    assert network.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    first, second = network.graph.node[:2]
    before = {"image"}  # whatever the image passes on its way into the first convolution
    for node in network.graph.node:
        if before & set(node.input) and node.op_type != "Conv":
            assert node.op_type in ("Transpose", "DequantizeLinear")
            before |= set(node.output)
    assert {first.op_type, second.op_type} <= {"Transpose", "DequantizeLinear"}
    parameters = {t.name: numpy_helper.to_array(t) for t in network.graph.initializer}
    image_node = next(n for n in network.graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in parameters)
    assert [parameters[name].item() for name in image_node.input[1:]] == [1.0, nanodet.PAD]


def test_models_are_built_bit_by_bit_as_the_manifest_says(source_graph, tmp_path):
    model = manifest.load(manifest.default_manifest())
    data = build.build(source_graph, model)
    assert build.write_checked(data, model, tmp_path).read_bytes() == data
    with pytest.raises(build.FingerprintError, match=f"model {model.name}: built file has sha256"):
        build.write_checked(data + b"\0", model, tmp_path)
