"""Screenshots of web pages that show a photograph or a generated picture, made by a real browser: to see whether a detector knows what they are.

    python benchmarks/web_pages.py data/manifest.csv build/pages

writes them below ``KIND/``. Needs Playwright and a chromium: the one on the path, or what ``REALGRAIN_BROWSER`` names.
"""

import argparse
import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import chromium
import numpy as np
from non_photographs import text

from realgrain.learning.data import Sample, read_manifest
from realgrain.learning.problem import first_of_each

PHONES = ((390, 844, 3), (412, 915, 2))  # width, height, device pixels each
DESKS = ((1280, 720, 1), (1440, 900, 1), (1100, 800, 2))


def style(rng: np.random.Generator, light: str, dark: str, face: str) -> str:
    """Colours and typeface of a page."""
    back, front = (dark, "#e8e8e8") if rng.random() < 0.35 else (light, "#1b1b1b")
    return f"margin:0;font-family:{face};background:{back};color:{front}"


def post(rng: np.random.Generator, picture: str) -> str:
    """A post with its picture in the middle column, its replies below."""
    replies = "".join(f"<p><b>{text(rng, 2)}</b><br>{text(rng, int(rng.integers(5, 20)))}</p>" for _ in range(4))
    return f"""<body style="{style(rng, "#fff", "#15202b", "sans-serif")}">
    <div style="max-width:600px;margin:0 auto;border:1px solid #8884;padding:12px"><b>{text(rng, 2).title()}</b>
    <span style="color:#888">@{text(rng, 1)} · 3h</span><p>{text(rng, int(rng.integers(8, 30)))}</p>
    <img src="{picture}" style="width:100%;border-radius:16px"><p style="color:#888">{rng.integers(999)} likes</p><hr>{replies}</div></body>"""


def article(rng: np.random.Generator, picture: str) -> str:
    """A newspaper's page: a coloured head, the picture below the title, a column at the side."""
    side = "".join(f"<h4>{text(rng, 5)}</h4><p>{text(rng, 12)}</p>" for _ in range(6))
    head = f"background:#{rng.integers(0x1000000):06x};color:#fff;padding:16px;font:bold 28px sans-serif"
    return f"""<body style="{style(rng, "#fdfdfb", "#111", "serif")}"><header style="{head}">{text(rng, 2).title()}</header>
    <main style="display:flex;gap:24px;padding:20px"><div style="flex:3"><h1>{text(rng, 7).title()}</h1><img src="{picture}" style="width:100%">
    <p>{text(rng, 150)}</p></div><aside style="flex:1">{side}</aside></main></body>"""


def chat(rng: np.random.Generator, picture: str) -> str:
    """A chat with the picture in a bubble."""
    bubble = "margin:10px;padding:8px;border-radius:8px;background:#8883"
    before = "".join(f'<div style="{bubble};max-width:75%">{text(rng, int(rng.integers(3, 15)))}</div>' for _ in range(3))
    return f"""<body style="{style(rng, "#efeae2", "#0b141a", "sans-serif")}">
    <div style="background:#075e54;color:#fff;padding:14px">{text(rng, 2).title()}</div>{before}<div style="{bubble};margin-left:auto;width:70%">
    <img src="{picture}" style="width:100%;border-radius:6px"><div>{text(rng, 6)}</div></div></body>"""


KINDS: dict[str, Callable[[np.random.Generator, str], str]] = {"post": post, "article": article, "chat": chat}


def write(folder: Path, samples: Sequence[Sample], each: int, seed: int) -> dict[str, list[Path]]:
    """Files by kind: ``each`` of every one, on a phone and on a desk in turn, with pictures of the samples in them."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[Path]] = {}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium.path(), args=chromium.arguments())
        for number, (kind, render) in enumerate(KINDS.items()):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            found[kind] = [folder / kind / f"{index:03}.png" for index in range(each)]
            for index, path in enumerate(found[kind]):
                rng = np.random.default_rng([seed, number, index])
                screens = DESKS if index % 2 else PHONES
                width, height, scale = screens[rng.integers(len(screens))]
                data = base64.b64encode(samples[rng.integers(len(samples))].file.read_bytes()).decode()
                page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
                page.set_content(render(rng, f"data:image;base64,{data}"))
                page.screenshot(path=path)
                page.close()
        browser.close()
    return found


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description="Write screenshots of web pages that show a picture.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--each", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    samples = first_of_each([sample for sample in read_manifest(options.manifest) if sample.split == options.split], 20)
    for kind, paths in write(options.folder, samples, options.each, options.seed).items():
        print(f"{kind}: {len(paths)}")


if __name__ == "__main__":
    main()
