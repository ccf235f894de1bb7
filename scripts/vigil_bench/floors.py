"""The least each step can cost: decoding alone, inference alone. CPU seconds, not wall time."""
import resource
import subprocess

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


def record(address, frames, out):
    """Starts to write that many frames of a camera, undecoded, into a Matroska file; the process ends by itself."""
    command = ["gst-launch-1.0", "-q", "-e", "rtspsrc", f"location={address}", "protocols=tcp", "buffer-mode=none", "!",
               "rtph264depay", "!", "h264parse", "!", "video/x-h264,alignment=au", "!",
               "identity", f"eos-after={frames + 1}", "!", "matroskamux", "!", "filesink", f"location={out}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def decode_ms(clip, seconds):
    """CPU milliseconds per second of video: demux and decode with one thread, pictures thrown away."""
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
