"""What happens to pictures on their way to a reader: one home for every degradation that realgrain trains on or measures.

Every function is pure: (H, W, 3) uint8 RGB in, the same kind out, the input untouched; all randomness comes from the generator given.
`realgrain.picture.conditions` gives names to those that results are reported under.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Resample = Image.Resampling

LONGEST = {"JPEG": 65_488, "WEBP": 16_368}
"""Longest side that a codec takes, pixels, down to a multiple of 16, which is what its blocks of colour cover."""
KERNELS = (Resample.BILINEAR, Resample.BICUBIC, Resample.LANCZOS)


def jpeg(pixels: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    """Save as JPEG and open again.

    Args:
        pixels: (H, W, 3) uint8.
        quality: 1..100 on the IJG scale; ValueError outside.
        subsampling: Of colour: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0.
    """
    return _through(pixels, "JPEG", quality, subsampling=subsampling)


def webp(pixels: Pixels, quality: int) -> Pixels:
    """Save as lossy WebP and open again; `quality` is 1..100, ValueError outside."""
    return _through(pixels, "WEBP", quality)


def _through(pixels: Pixels, codec: str, quality: int, **options: int) -> Pixels:
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, got {quality}")
    axis, parts = pieces(pixels, codec)
    if len(parts) > 1:
        return np.concatenate([_through(part, codec, quality, **options) for part in parts], axis)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, codec, quality=quality, **options)
    with Image.open(file, formats=(codec,)) as image:  # our own bytes, not a stranger's: `open_picture` is for those
        return np.asarray(image.convert("RGB"))


def pieces(pixels: Pixels, codec: str) -> tuple[int, list[Pixels]]:
    """The axis along which a picture is too long for "JPEG" or "WEBP", and pieces of it that are not: one, if it is not either.

    Such pictures are few, but a scroll of screenshots is one, and it must not end a batch. Coded piece by piece it is as near to what a reader
    receives as any answer (our choice).
    """
    axis = int(pixels.shape[1] > pixels.shape[0])
    return axis, np.split(pixels, range(LONGEST[codec], pixels.shape[axis], LONGEST[codec]), axis)


def resize(pixels: Pixels, longest: int) -> Pixels:
    """Shrink with Lanczos so that the longest side is `longest` pixels; a picture no larger is returned as it is, never enlarged."""
    if longest < 1:
        raise ValueError(f"longest must be at least 1, got {longest}")
    factor = longest / max(pixels.shape[:2])
    return scale(pixels, factor, Resample.LANCZOS) if factor < 1 else pixels


def scale(pixels: Pixels, factor: float, resample: Resample = Resample.LANCZOS) -> Pixels:
    """Multiply both sides by `factor` (above 0), each rounded to whole pixels and at least 1."""
    if not (factor > 0 and math.isfinite(factor)):
        raise ValueError(f"factor must be a number above 0, got {factor}")
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), resample))


def shorter(pixels: Pixels, side: int, resample: Resample = Resample.BICUBIC) -> Pixels:
    """Shrink so that the shorter side is `side` pixels; a picture no larger is returned as it is, never enlarged."""
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    factor = side / min(pixels.shape[:2])
    return scale(pixels, factor, resample) if factor < 1 else pixels


def resampled(pixels: Pixels, factor: float, resample: Resample = Resample.BICUBIC) -> Pixels:
    """Multiply both sides by `factor` (above 0), then bring the picture back to the size it had, with the same kernel."""
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(scale(pixels, factor, resample)).resize((width, height), resample))


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Blur with Pillow's approximation of a Gaussian of standard deviation `sigma` pixels (0 or more)."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise of standard deviation `sigma` (8-bit levels), each channel its own, rounded and clipped to 0..255."""
    values = rng.standard_normal(pixels.shape, dtype=np.float32)
    values *= np.float32(sigma)
    values += pixels
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def crop(pixels: Pixels, fraction: float, rng: np.random.Generator | None = None) -> Pixels:
    """Keep `fraction` (above 0, to 1) of each side, from the centre, or from anywhere if `rng` is given."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, got {fraction}")
    height, width = (max(1, round(side * fraction)) for side in pixels.shape[:2])
    room = (pixels.shape[0] - height, pixels.shape[1] - width)
    top, left = (spare // 2 if rng is None else int(rng.integers(spare + 1)) for spare in room)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def extended(pixels: Pixels, size: int) -> Pixels:
    """Mirror a picture about its edges until no side is shorter than `size`: unlike tiling it makes no seam (our choice).

    The edge row itself is not repeated, but for a side of one pixel, where nothing else is left; the mirroring repeats as needed.
    """
    for axis in (0, 1):
        missing = max(0, size - pixels.shape[axis])
        if missing:
            around = [(0, 0), (0, 0), (0, 0)]
            around[axis] = (missing // 2, missing - missing // 2)
            pixels = np.pad(pixels, around, mode="reflect")
    return pixels


def square(pixels: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """Keep `side` x `side` native pixels (at least 1) from anywhere; a picture that is smaller is mirrored about its edges first, as for a view."""
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    pixels = extended(pixels, side)
    top, left = (int(rng.integers(length - side + 1)) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def flip(pixels: Pixels) -> Pixels:
    """Mirror left to right."""
    return np.ascontiguousarray(pixels[:, ::-1])


@dataclass(frozen=True)
class Augmentation:
    """The law of training degradations: one for photographs and generated pictures alike.

    Being the same for both, neither file format, size nor quality can tell the label. Every number is our choice; each range is
    uniform unless said otherwise, and both ends are included.

    Args:
        p_crop: Probability of keeping a native square from anywhere and nothing else, before everything; 0 as long as views choose what is seen.
        crop_size: Side of that square, pixels.
        short_side: Range of the shorter side, pixels, uniform in its logarithm, to which larger pictures are shrunk first, so that size cannot tell
            the label either; one that is smaller stays as it is. None: sizes stay.
        p_resize: Probability of shrinking by a factor.
        scale_range: Of the factor, uniform in its logarithm.
        min_side: Shrinking that would leave a side of fewer pixels is skipped.
        p_blur: Probability of a Gaussian blur.
        blur_range: Of its sigma, pixels.
        p_noise: Probability of Gaussian noise.
        noise_range: Of its sigma, 8-bit levels.
        p_codec: Probability of one lossy codec, always the last but for the mirror.
        p_webp: Probability that the codec is WebP rather than JPEG.
        jpeg_range: Of the JPEG quality; subsampling is 4:4:4 or 4:2:0, as likely.
        webp_range: Of the WebP quality.
        p_flip: Probability of mirroring left to right.

    Raises:
        ValueError: A probability outside 0..1 or a range that is reversed or outside what its step takes.
    """

    p_crop: float = 0.0
    crop_size: int = 224
    short_side: tuple[int, int] | None = None
    p_resize: float = 0.7
    scale_range: tuple[float, float] = (0.4, 1.0)
    min_side: int = 160
    p_blur: float = 0.15
    blur_range: tuple[float, float] = (0.3, 1.5)
    p_noise: float = 0.1
    noise_range: tuple[float, float] = (1.0, 6.0)
    p_codec: float = 0.9
    p_webp: float = 0.25
    jpeg_range: tuple[int, int] = (35, 96)
    webp_range: tuple[int, int] = (40, 95)
    p_flip: float = 0.5

    def __post_init__(self) -> None:
        if self.crop_size < 1:
            raise ValueError(f"crop_size must be at least 1, got {self.crop_size}")
        for name in ("p_crop", "p_resize", "p_blur", "p_noise", "p_codec", "p_webp", "p_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a probability, got {getattr(self, name)}")
        bounds = {"scale_range": (1e-3, 1), "blur_range": (0, 100), "noise_range": (0, 255), "jpeg_range": (1, 100), "webp_range": (1, 100)}
        for name, (least, most) in bounds.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must rise within {least} to {most}, got {low} to {high}")
        if self.short_side is not None and not 1 <= self.short_side[0] <= self.short_side[1]:
            raise ValueError(f"short_side must rise from at least 1, got {self.short_side[0]} to {self.short_side[1]}")


def augment(pixels: Pixels, law: Augmentation, rng: np.random.Generator) -> Pixels:
    """Degrade one training picture: cut a square, bring to a size, shrink, blur, noise, codec, mirror, each with its probability.

    Args:
        pixels: (H, W, 3) uint8.
        law: The probabilities and ranges.
        rng: Source of all chance; the same state and law give the same result.

    Returns:
        (H', W', 3) uint8; no side is below `law.min_side` unless it was before, or the square's is.
    """
    if law.p_crop and rng.random() < law.p_crop:  # without it no number is drawn, so that laws from before there was one mean what they meant
        pixels = square(pixels, law.crop_size, rng)
    if law.short_side is not None:
        factor = _between(*law.short_side, rng) / min(pixels.shape[:2])
        kernel = KERNELS[rng.integers(len(KERNELS))]
        if factor < 1:
            pixels = scale(pixels, factor, kernel)
    if rng.random() < law.p_resize:
        factor = _between(*law.scale_range, rng)
        kernel = KERNELS[rng.integers(len(KERNELS))]
        if round(min(pixels.shape[:2]) * factor) >= law.min_side:
            pixels = scale(pixels, factor, kernel)
    if rng.random() < law.p_blur:
        pixels = blur(pixels, rng.uniform(*law.blur_range))
    if rng.random() < law.p_noise:
        pixels = noise(pixels, rng.uniform(*law.noise_range), rng)
    if rng.random() < law.p_codec:
        pixels = _any_codec(pixels, law, rng)
    return flip(pixels) if rng.random() < law.p_flip else pixels


def _between(low: float, high: float, rng: np.random.Generator) -> float:
    """A number drawn uniformly in its logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _any_codec(pixels: Pixels, law: Augmentation, rng: np.random.Generator) -> Pixels:
    if rng.random() < law.p_webp:
        return webp(pixels, int(rng.integers(*law.webp_range, endpoint=True)))
    return jpeg(pixels, int(rng.integers(*law.jpeg_range, endpoint=True)), subsampling=int(rng.choice((0, 2))))
