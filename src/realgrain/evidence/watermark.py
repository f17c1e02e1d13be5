"""The invisible watermark that reference code of Stable Diffusion and FLUX writes into its pictures, read from pixels.

The writer is the method "dwtDct" of the package invisible-watermark (ShieldMnt, MIT). That package cannot be asked for: it requires OpenCV, and
imports torch for a method that is not needed here. What its reader does is little. The low band of one level of the Haar transform of the chroma
plane U is cut into blocks of 4 x 4. Block n carries bit n modulo the length, in its largest coefficient but the first: in the upper half of a step
of 36 it says 1, in the lower 0; a bit is what most of its blocks say. Only the known messages are looked for, since every picture decodes to some.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

STEP = 36  # the writer's default for U
BLOCK = 4
LEAST_PIXELS = 256 * 256  # below, the writer refuses
MOST_PIXELS = 2**20  # of larger pictures only the top rows are read: the message repeats over a hundred times there (our choice, for speed)
FALSE_ALARM = 1e-7  # of one message in one picture whose bits are fair coins; real pictures' are not: tests measure the rate on photographs


def _bits(message: bytes | str) -> np.ndarray:
    if isinstance(message, bytes):
        return np.unpackbits(np.frombuffer(message, np.uint8)).astype(bool)
    return np.array([digit == "1" for digit in message])


# As the reference scripts write them: CompVis and Stability AI by name; Stability AI's generative-models and diffusers for SDXL; Black Forest Labs'
# 48 bits for FLUX, whose first two zeros Python's `bin` has dropped.
MESSAGES: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "StableDiffusionV1": _bits(b"StableDiffusionV1"),
        "SDV2": _bits(b"SDV2"),
        "SDXL": _bits("101100111110110010010000011110111011000110011110"),
        "FLUX": _bits("1010101111111010000111100111001111010100101110"),
    }
)


@functools.cache
def agreeing_bits(length: int) -> int:
    """Least number of ``length`` bits that must agree with a message, so that fair coins do with a probability of at most FALSE_ALARM."""
    ways, least = 0, length + 1  # of the outcomes with at least so many heads
    while (ways := ways + math.comb(length, least - 1)) <= FALSE_ALARM * 2**length:
        least -= 1
    return least


def watermark(pixels: np.ndarray) -> str:
    """Name of the known message in a picture's invisible watermark; empty if there is none.

    Cropping by anything but whole rows of blocks, resizing and strong compression destroy the mark: its absence says nothing.

    Args:
        pixels: (H, W, 3) uint8 RGB, as the generator saved them.
    """
    if pixels.shape[0] * pixels.shape[1] < LEAST_PIXELS:
        return ""
    pixels = pixels[: max(MOST_PIXELS // pixels.shape[1], 2 * BLOCK)]
    for channels in (slice(None), slice(None, None, -1)):  # early versions of diffusers gave RGB to a writer that expects BGR
        said = _said(pixels[..., channels])
        for name, message in MESSAGES.items():
            slots = np.arange(len(said)) % len(message)
            counts = np.bincount(slots, minlength=len(message))
            decoded = np.bincount(slots, said, len(message)) / np.maximum(counts, 1) * 255 > 127
            if (decoded == message).sum() >= agreeing_bits(len(message)):
                return name
    return ""


def _said(pixels: np.ndarray) -> np.ndarray:
    """What each block says, (N,) of 0 and 1 in row order."""
    height, width = (side // 4 * 4 for side in pixels.shape[:2])
    red, green, blue = (pixels[:height, :width, channel].astype(np.float32) for channel in range(3))
    luma = np.rint(0.299 * red + 0.587 * green + 0.114 * blue)
    chroma = np.clip(np.rint(0.492 * (blue - luma) + 128), 0, 255)  # U of OpenCV's 8-bit YUV
    low = (chroma[::2, ::2] + chroma[::2, 1::2] + chroma[1::2, ::2] + chroma[1::2, 1::2]) / 2
    rows, columns = height // 2 // BLOCK, width // 2 // BLOCK
    blocks = low[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
    rest = np.abs(blocks[:, 1:])
    return (rest.max(axis=1) % STEP > STEP / 2).astype(np.float64)
