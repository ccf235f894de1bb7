"""Reading TFJS files."""

import json

import numpy as np
import pytest

from vigil_models import tfjs


def write(folder, weights, data, **changes):
    document = {
        "format": "graph-model",
        "modelTopology": {
            "node": [
                {"name": "x", "op": "Placeholder"},
                {
                    "name": "p",
                    "op": "MaxPool",
                    "input": ["x"],
                    "attr": {
                        "padding": {"s": "VkFMSUQ="},
                        "strides": {"list": {"i": ["1", "2", "2", "1"]}},
                        "n": {"i": "3"},
                        "alpha": {"f": 0.5},
                        "flag": {"b": True},
                        "shapes": {"list": {}},
                    },
                },
            ]
        },
        "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": weights}],
    } | changes
    (folder / "a.bin").write_bytes(data[:5])
    (folder / "b.bin").write_bytes(data[5:])
    (folder / "m.json").write_text(json.dumps(document))
    return folder / "m.json"


WEIGHTS = [
    {"name": "half", "shape": [2, 1], "dtype": "float32", "quantization": {"dtype": "float16"}},
    {"name": "scalar", "shape": [], "dtype": "int32"},
]
DATA = np.array([1.5, -2], "<f2").tobytes() + np.array(7, "<i4").tobytes()


def test_half_floats_widen_shards_join_and_scalars_stay_scalars(tmp_path):
    constants = tfjs.load(write(tmp_path, WEIGHTS, DATA)).constants
    assert constants["half"].dtype == np.float32
    np.testing.assert_array_equal(constants["half"], [[1.5], [-2]])
    assert constants["scalar"].shape == ()
    assert constants["scalar"] == 7


def test_attributes_become_plain_values(tmp_path):
    node = tfjs.load(write(tmp_path, WEIGHTS, DATA)).nodes["p"]
    assert node.inputs == ("x",)
    assert node.attrs == {"padding": "VALID", "strides": [1, 2, 2, 1], "n": 3, "alpha": 0.5, "flag": True, "shapes": []}


@pytest.mark.parametrize(
    ("weights", "data", "changes", "message"),
    [
        (WEIGHTS, DATA[:-1], {}, "inside scalar"),
        (WEIGHTS, DATA + b"\0\0", {}, "2 bytes of the weight file belong to no weight"),
        ([{"name": "q", "shape": [1], "dtype": "float32", "quantization": {"dtype": "uint8"}}], b"\0", {}, "uint8"),
        (WEIGHTS, DATA, {"format": "layers-model"}, "expected 'graph-model'"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, weights, data, changes, message):
    with pytest.raises(tfjs.ModelFormatError, match=message):
        tfjs.load(write(tmp_path, weights, data, **changes))
