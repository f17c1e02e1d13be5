"""Pictures that are no photographs, rendered here or found in installed packages: to see whether a detector knows that they are not its business.

    python benchmarks/non_photographs.py build/non-photographs

writes them below ``KIND/``, the same ones each time with the same packages.
"""

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = (
    "the of a court measure harbour record letter minutes agreed between parties invoice number total amount payable within days notice "
    "committee report section table shows water level station annual budget proposal signed dated received office copy annex"
)
PACKAGES = {
    "importlinter": ("ui/static/*.png",),
    "matplotlib": ("mpl-data/images/*.png", "mpl-data/sample_data/*.png"),
    "networkx": ("drawing/tests/baseline/*.png",),
    "scipy": ("ndimage/tests/*.png",),
    "skimage": ("data/*.png", "data/*.gif"),
    "sympy": ("plotting/tests/*.png",),
}
"""Package -> where drawings, icons and scans may be; photographs among them are named in ``PHOTOGRAPHS``."""
PHOTOGRAPHS = (
    "astronaut brick camera cat chelsea chessboard_GRAY chessboard_RGB coffee color coins gravel grass grace_hopper ihc lily moon motorcycle_left "
    "motorcycle_right multipage_rgb retina rocket eagle hubble_deep_field ivy palette_color palette_gray phantom astronaut_GRAY_hog"
)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A typeface that matplotlib ships, so that all machines draw alike."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def text(rng: np.random.Generator, count: int) -> str:
    """Some words."""
    return " ".join(rng.choice(WORDS.split(), count))


def document(rng: np.random.Generator) -> Image.Image:
    """A page of paragraphs under a heading."""
    width, height = int(rng.integers(600, 1000)), int(rng.integers(800, 1300))
    page = Image.new("RGB", (width, height), tuple(int(level) for level in rng.integers(244, 256, 3)))
    draw, size, top = ImageDraw.Draw(page), int(rng.integers(12, 22)), 120
    draw.text((60, 50), text(rng, 4).title(), "black", font(2 * size))
    while top < height - 80:
        draw.text((60, top), text(rng, (width - 120) // (4 * size)), (30, 30, 30), font(size))
        top += int(size * (1.5 if rng.random() < 0.85 else 3))
    return page


def scan(rng: np.random.Generator) -> Image.Image:
    """A document as a scanner sees it: grey, askew, grainy, in shadow at one edge."""
    page = document(rng).convert("L").rotate(float(rng.uniform(-2, 2)), Image.Resampling.BICUBIC, fillcolor=235)
    levels = np.asarray(page, np.float64) * np.linspace(0.85, 1, page.width) * 0.93 + rng.normal(0, 6, (page.height, page.width))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")


def screenshot(rng: np.random.Generator) -> Image.Image:
    """A window with a menu, a list at the side, buttons and text."""
    width, height = int(rng.integers(900, 1500)), int(rng.integers(600, 900))
    dark = rng.random() < 0.4
    back, front = ((32, 33, 36), (230, 230, 230)) if dark else ((250, 250, 252), (30, 30, 30))
    accent = tuple(int(level) for level in rng.integers(40, 220, 3))
    window = Image.new("RGB", (width, height), back)
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, 0, width, 44), accent)
    draw.text((16, 10), text(rng, 3).title(), "white", font(20))
    draw.rectangle((0, 44, 220, height), tuple(max(0, level - 12) for level in back))
    for row in range((height - 80) // 36):
        draw.ellipse((14, 62 + 36 * row, 34, 82 + 36 * row), accent)
        draw.text((46, 62 + 36 * row), text(rng, 2), front, font(15))
        draw.text((250, 64 + 36 * row), text(rng, int(rng.integers(4, 12))), front, font(15))
    for column in range(3):
        draw.rounded_rectangle((260 + 150 * column, height - 60, 390 + 150 * column, height - 20), 8, accent)
    return window


def page(rng: np.random.Generator) -> Image.Image:
    """A screenshot with a photograph in it: part of one that scikit-learn or matplotlib ships, over a third to three quarters of each side."""
    import matplotlib
    import sklearn

    folders = Path(sklearn.__file__).parent / "datasets/images", Path(matplotlib.get_data_path()) / "sample_data"
    files = sorted(file for folder in folders for file in folder.glob("*.jpg"))
    window, share = screenshot(rng), rng.uniform(1 / 3, 3 / 4)
    with Image.open(files[rng.integers(len(files))]) as photograph:
        left, top = (rng.uniform(0, 0.3, 2) * photograph.size).astype(int)
        part = photograph.convert("RGB").crop((left, top, left + int(0.7 * photograph.width), top + int(0.7 * photograph.height)))
    size = int(share * window.width), int(share * window.height)
    window.paste(part.resize(size), ((window.width - size[0]) // 2, (window.height - size[1]) // 2))
    return window


def drawing(rng: np.random.Generator) -> Image.Image:
    """Lines, curves and outlined shapes on white."""
    side = int(rng.integers(500, 900))
    sheet = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(10, 40))):
        box = np.sort(rng.integers(0, side, (2, 2)), axis=0).T.ravel().tolist()
        (left, right), (top, bottom) = box[:2], box[2:]
        stroke, kind = int(rng.integers(1, 6)), rng.integers(4)
        if kind == 0:
            draw.ellipse((left, top, right + 1, bottom + 1), outline="black", width=stroke)
        elif kind == 1:
            draw.rectangle((left, top, right + 1, bottom + 1), outline="black", width=stroke)
        elif kind == 2:
            draw.arc((left, top, right + 1, bottom + 1), int(rng.integers(0, 180)), int(rng.integers(180, 360)), "black", stroke)
        else:
            draw.line((left, top, right, bottom), "black", stroke)
    return sheet


def art(rng: np.random.Generator) -> Image.Image:
    """Flat coloured shapes over a gradient, as in a poster."""
    side = int(rng.integers(500, 900))
    ends = rng.integers(0, 256, (2, 3))
    ramp = np.linspace(ends[0], ends[1], side)[:, None].repeat(side, 1).astype(np.uint8)
    sheet = Image.fromarray(ramp)
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(6, 20))):
        points = [(int(x), int(y)) for x, y in rng.normal(rng.integers(0, side, 2), side / 6, (int(rng.integers(3, 7)), 2))]
        draw.polygon(points, tuple(int(level) for level in rng.integers(0, 256, 3)))
    return sheet


def chart(rng: np.random.Generator) -> Image.Image:
    """A plot by matplotlib: lines, bars, points or a heat map."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(rng.uniform(5, 9), rng.uniform(4, 6)), dpi=100)
    kind, x = rng.integers(4), np.arange(20)
    if kind == 0:
        for index in range(3):
            axes.plot(x, rng.normal(size=20).cumsum(), label=f"series {index}")
        axes.legend()
    elif kind == 1:
        axes.bar(x, rng.random(20))
    elif kind == 2:
        axes.scatter(*rng.normal(size=(2, 200)))
    else:
        axes.imshow(rng.random((12, 16)))
    axes.set_title(text(rng, 4))
    figure.canvas.draw()
    found = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    plt.close(figure)
    return found


RENDERED: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "document": document,
    "scan": scan,
    "screenshot": screenshot,
    "drawing": drawing,
    "art": art,
    "chart": chart,
    "page": page,
}


def packaged(least: int = 128) -> list[Path]:
    """Non-photographs of installed packages, no side shorter than ``least`` pixels."""
    found = []
    for package, patterns in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for pattern in patterns:
            for path in sorted(Path(spec.origin).parent.glob(pattern)):
                with Image.open(path) as image:
                    if path.stem not in PHOTOGRAPHS.split() and min(image.size) >= least:
                        found.append(path)
    return found


def write(folder: Path, each: int, seed: int = 0) -> dict[str, list[Path]]:
    """Files by kind: ``each`` of every kind that is rendered, and what the packages have."""
    found: dict[str, list[Path]] = {}
    for number, (kind, render) in enumerate(RENDERED.items()):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        found[kind] = [folder / kind / f"{index:03}.png" for index in range(each)]
        for index, path in enumerate(found[kind]):
            render(np.random.default_rng([seed, number, index])).save(path)
    return {**found, "packaged": packaged()}


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description="Write pictures that are no photographs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for kind, paths in write(options.folder, options.each, options.seed).items():
        print(f"{kind}: {len(paths)}")


if __name__ == "__main__":
    main()
