"""The least each step can cost: decoding alone, inference alone. CPU seconds, not wall time."""
import resource
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from .machine import cache

INFERENCES = 60


def children_cpu(command):
    """CPU seconds of a command that runs to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def encode(width, height, fps, seconds, out):
    """vtest as H.264, as the camera simulator encodes it."""
    source = cache() / "clips" / "vtest.avi"
    caps = f"video/x-raw,width={width},height={height},framerate={fps}/1"
    command = ["gst-launch-1.0", "-q", "filesrc", f"location={source}", "!", "decodebin", "!", "videoconvertscale", "!",
               "videorate", "!", caps, "!", "identity", f"eos-after={int(fps * seconds)}", "!",
               "x264enc", "tune=zerolatency", "speed-preset=veryfast", "pass=quant", "quantizer=23",
               f"key-int-max={2 * fps}", "!", "h264parse", "!", "matroskamux", "!", "filesink", f"location={out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def decode_ms(width, height, fps, seconds=30):
    """CPU milliseconds per second of video: demux and decode with one thread, pictures thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mkv"
        encode(width, height, fps, seconds, clip)
        head = ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "matroskademux", "!", "h264parse"]
        decode = children_cpu([*head, "!", "avdec_h264", "max-threads=1", "!", "fakesink", "sync=false"])
        start = children_cpu(["gst-launch-1.0", "-q", "fakesrc", "num-buffers=1", "!", "fakesink"])
    return 1000 * (decode - start) / seconds


def inference_ms(model="nanodet-g-416x544-int8.onnx"):
    """CPU milliseconds of one inference of the default model, one thread, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(cache() / "models" / model, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in entry.shape]
    picture = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    session.run(None, {entry.name: picture})
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(INFERENCES):
        session.run(None, {entry.name: picture})
    after = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / INFERENCES
