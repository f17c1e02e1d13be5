"""Draws what each kind of masking hides of some pictures.

    python benchmarks/masks.py coffee.png astronaut.png chelsea.png -o docs/masks.png

The pictures of docs/masks.png are in scikit-image, below skimage/data.
"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from realgrain.learning.masking import Kind, Masking, fill_patches, hidden_patches, luminance
from realgrain.picture.image import open_picture
from realgrain.picture.views import View, ViewSpec, make_views

GAP = 8
LABEL = 26
"""Height of a line of labels, pixels."""
COLOURS = 256
"""Of the palette: a third of the bytes of full colour."""


def masked(views: torch.Tensor, spec: ViewSpec, masking: Masking, patch: int, seed: int) -> np.ndarray:
    """Views (N, 3, H, W) with their hidden patches painted over, as pictures (N, H, W, 3) uint8."""
    normal = spec.mean, spec.std
    hidden = hidden_patches(luminance(views, *normal), masking, patch, torch.Generator().manual_seed(seed))
    painted = fill_patches(views, hidden, patch, "mean", *normal).permute(0, 2, 3, 1)
    return ((painted * torch.tensor(spec.std) + torch.tensor(spec.mean)) * 255).round().to(torch.uint8).numpy()


def grid(columns: dict[str, np.ndarray]) -> Image.Image:
    """Pictures (N, side, side, 3) of each column below its label."""
    count, side = next(iter(columns.values())).shape[:2]
    step = side + GAP
    canvas = Image.new("RGB", (len(columns) * step + GAP, LABEL + count * step), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, (label, pictures) in enumerate(columns.items()):
        left = GAP + column * step
        draw.text((left + side / 2, LABEL / 2), label, "black", font, anchor="mm")
        for row, picture in enumerate(pictures):
            canvas.paste(Image.fromarray(picture), (left, LABEL + row * step))
    return canvas


def main() -> None:
    """Draw and write the grid."""
    parser = argparse.ArgumentParser(description="Draw what each kind of masking hides.")
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=224, help="side of the crop, pixels")
    parser.add_argument("--patch", type=int, default=16, help="side of a patch, pixels: that of the tower")
    parser.add_argument("--ratio", type=float, default=Masking.ratio)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/masks.png"))
    options = parser.parse_args()
    spec = ViewSpec((View("crop", options.size),))
    views = torch.from_numpy(np.concatenate([make_views(open_picture(path).pixels, spec) for path in options.pictures]))
    columns = {
        "picture" if kind == "none" else kind: masked(views, spec, Masking(kind, options.ratio), options.patch, options.seed)
        for kind in get_args(Kind)
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    grid(columns).quantize(COLOURS).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
