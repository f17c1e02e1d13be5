"""Fakes that show what photographs show: each training photograph remade by an autoencoder that was trained on them all.

A detector that is given both cannot use what is in a picture, only how it was made; so it is with the pairs of DDA (arXiv 2505.14359), B-Free (arXiv
2412.17671) and the reconstructions of DRCT. They take a published generator's decoder. Here small ones of our own, of several kinds, are trained from
nothing in minutes, so that nothing is downloaded and no one decoder is what "generated" means. They see photographs alone and no label; the remakes
of a left-out photograph are left out with it, being its twins.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from realgrain.detector import weights
from realgrain.learning import autoencoding
from realgrain.learning.aligned import Aligned
from realgrain.learning.autoencoder import DESIGNS, Autoencoder
from realgrain.learning.data import Sample
from realgrain.learning.problem import Problem
from realgrain.picture.image import PictureError, open_picture

log = logging.getLogger(__name__)

CARD = "autoencoder.json"


def with_remakes(problem: Problem, made: Problem) -> Problem:
    """A problem, and after its N pictures the remakes of its photographs, out of those that ``remakes`` made of it or of a larger one.

    Deal folds, and count pictures, on the problem as it was: sources of remakes are not to be left out on their own.
    """
    paths = {sample.path for sample in problem.samples}
    mine = made.keep(np.array([(sample.model_extra or {}).get("original") in paths for sample in made.samples], bool))
    return Problem([*problem.samples, *mine.samples], [*problem.sha256, *mine.sha256], np.concatenate([problem.twins, mine.twins]), problem.failed)


def remakes(problem: Problem, settings: Aligned) -> Problem:
    """Remake a problem's photographs, by autoencoders that are trained on all of them; both are kept in the cache, whatever ends the run.

    Args:
        problem: whose pictures labelled real are the photographs. The others are not looked at.
        settings: with kind ``none``, there are no remakes.

    Returns:
        ``per_photograph`` fakes for each photograph, all of one autoencoder after all of another, as lossless files in the cache. Generator and
        source are ``aligned-`` and the autoencoder's name, twins and all else those of the photograph, whose path is kept as ``original``.

    Raises:
        WeightsError: an autoencoder in the cache is damaged.
        PictureError: a photograph no longer opens.
    """
    rows = [row for row, sample in enumerate(problem.samples) if sample.label == "real"] if settings.kind != "none" else []
    photographs = [(problem.samples[row], problem.sha256[row]) for row in rows]
    known: list[np.ndarray] = []  # crops are cut for the first autoencoder that is not in the cache, if any

    def crops() -> np.ndarray:
        if not known:
            known.append(autoencoding.crops([sample.file for sample, _ in photographs], [sha256 for _, sha256 in photographs], settings.seed))
        return known[0]

    made: list[tuple[Sample, str, int]] = []
    for name in settings.names:
        mine = [row for row in rows if name in settings.chosen(problem.sha256[row])]
        if not mine:
            continue
        folder = folder_of(name, [sha256 for _, sha256 in photographs], settings)
        model = trained(name, folder, crops, settings)
        for row in tqdm(mine, desc=f"remaking, {name}", unit="picture", disable=None):
            sample = problem.samples[row]
            file = folder / f"{problem.sha256[row]}.png"
            sha256 = _remake(model, sample.file, file, bf16=settings.precision == "bf16")
            origin = {"label": "fake", "generator": f"aligned-{name}", "source": f"aligned-{name}", "original": sample.path}
            path = f"aligned-{name}/{sample.path}"
            made.append((Sample.model_validate({**sample.model_dump(), **origin, "path": path, "file": file}), sha256, row))
    twins = problem.twins[[row for *_, row in made]] if made else problem.twins[:0]
    return Problem([sample for sample, *_ in made], [sha256 for _, sha256, _ in made], twins)


def folder_of(name: str, sha256: Sequence[str], settings: Aligned) -> Path:
    """Where an autoencoder trained on the photographs of these sha256 is kept, with what it remade."""
    told = [autoencoding.LAW, name, asdict(DESIGNS[name]), settings.steps, settings.seed, settings.precision, sorted(sha256)]
    return weights.home() / "aligned" / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def trained(name: str, folder: Path, crops: Callable[[], np.ndarray], settings: Aligned) -> Autoencoder:
    """The autoencoder that is kept in a folder, trained if it is not there yet; a run that is interrupted leaves nothing of it.

    Args:
        name: of ``autoencoder.DESIGNS``.
        folder: of ``folder_of``.
        crops: gives what to train on, (M, CROP, CROP, 3) uint8.
        settings: how.

    Raises:
        WeightsError: the file is not the one that was written.
    """
    if not folder.exists():
        with weights.building(folder) as scratch:
            if scratch is not None:
                model, losses = autoencoding.fit(
                    DESIGNS[name], crops(), steps=settings.steps, seed=settings.seed, bf16=settings.precision == "bf16", about=name
                )
                save_file(model.state_dict(), scratch / weights.TENSORS)
                card = {"name": name, "sha256": weights.file_sha256(scratch / weights.TENSORS), "losses": losses[:: max(1, len(losses) // 50)]}
                (scratch / CARD).write_text(json.dumps(card))
    model = Autoencoder(DESIGNS[name])
    try:
        card = json.loads((folder / CARD).read_text())
        if card["sha256"] != weights.file_sha256(folder / weights.TENSORS):
            raise ValueError("its sha256 is another")
        model.load_state_dict(load_file(folder / weights.TENSORS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise weights.WeightsError(f"autoencoder {name}: {folder} is damaged ({error}); delete it, and it is trained again") from error
    return model.eval()


def _remake(model: Autoencoder, photograph: Path, file: Path, *, bf16: bool) -> str:
    """Write a photograph's remake, at once or not at all, unless it is there and whole; sha256 of the file."""
    if file.exists():
        try:
            return open_picture(file).sha256
        except PictureError as error:
            log.warning("made again: %s", error)
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(model.reconstruct(open_picture(photograph).pixels, bf16=bf16)).save(png, "PNG")
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_bytes(png.getvalue())
    scratch.replace(file)
    return hashlib.sha256(png.getvalue()).hexdigest()
