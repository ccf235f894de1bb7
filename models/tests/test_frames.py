"""Raw pictures and clips."""

import numpy as np
import pytest

from vigil_models import frames
from vigil_models.frames import VideoError


def test_odd_pictures_come_back_from_their_bytes():
    rng = np.random.default_rng(5)
    frame = frames.Frame(*(rng.integers(0, 256, shape, np.uint8) for shape in ((3, 5), (2, 3), (2, 3))))
    back = frames.from_bytes(frame.to_bytes(), 5, 3, "bt709", full_range=True)
    for plane in "yuv":
        np.testing.assert_array_equal(getattr(back, plane), getattr(frame, plane))
    assert (back.matrix, back.full_range) == ("bt709", True)


def test_a_wrong_number_of_bytes_and_an_unknown_matrix_are_refused():
    with pytest.raises(VideoError, match=r"26 bytes are not one I420 picture of 5x3 \(27 bytes\)"):
        frames.from_bytes(bytes(26), 5, 3, "bt601")
    with pytest.raises(VideoError, match="unknown colour matrix 'bt2020'"):
        frames.from_bytes(bytes(27), 5, 3, "bt2020")


def test_rows_padded_by_gstreamer_are_cut_off():
    # 6x2: luma rows of 8 bytes, chroma rows of 4
    luma = np.arange(16, dtype=np.uint8).reshape(2, 8)
    chroma = 100 + np.arange(8, dtype=np.uint8).reshape(2, 1, 4)

    class Stream:
        def read(self, count):
            assert count == 24
            return luma.tobytes() + chroma.tobytes()

    frame = frames._read_frame(Stream(), 6, 2, "bt601")
    np.testing.assert_array_equal(frame.y, luma[:, :6])
    np.testing.assert_array_equal(frame.u, chroma[0, :, :3])
    np.testing.assert_array_equal(frame.v, chroma[1, :, :3])


def test_frames_of_a_clip_are_those_asked_for(vtest):
    assert sorted(vtest) == [90, 260, 430, 640]
    assert {(f.width, f.height, f.matrix) for f in vtest.values()} == {(768, 576, "bt601")}
    assert not np.array_equal(vtest[90].y, vtest[260].y)


def test_a_frame_beyond_the_end_and_a_file_without_video_are_errors(tmp_path, clips):
    with pytest.raises(VideoError, match=r"bikes\.mp4: ends at frame 250, wanted frames \[250\]"):
        list(frames.clip_frames(clips / "bikes.mp4", {250}))
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match=r"empty\.mp4: no video found in it"):
        list(frames.clip_frames(tmp_path / "empty.mp4", {0}))
