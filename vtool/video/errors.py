"""What can be wrong with a video, said without paths and without a decoder's own words."""

from __future__ import annotations

from vtool.errors import FaultCode, MediaError, ModelFault, VToolError


class VideoError(MediaError):
    """A video that cannot be read, or not in time.

    Args:
        message: What was expected and what came. Never a path, never a decoder's message: some
            of those have held addresses of memory.
        code: `bad_video`, or `timeout` where it took too long.
    """

    def __init__(self, message: str, code: FaultCode = FaultCode.BAD_VIDEO) -> None:
        super().__init__(message)
        self.code = code

    def fault(self) -> ModelFault:
        """The same as an observation for a model: the file is at fault, the run goes on."""
        return ModelFault(self.code, str(self), hint="ask for another stretch, or answer without")


class ReaderError(VToolError, RuntimeError):
    """Our own machinery failed: nothing is known of the video, and no policy is to blame."""


REASONS = {
    "format": "the file is no video of an allowed container (mp4, mov, mkv, webm, avi, ts, ...)",
    "no_video": "the file has no video stream",
    "codec": "the video is in a codec that is not allowed here",
    "too_large": "the video's frames are larger than is allowed",
    "undecodable": "no frame of the video could be decoded: it is damaged, cut off or encrypted",
    "no_times": "the video holds no frame with a time",
}
"""Why a worker refused, by the word that it sends."""
