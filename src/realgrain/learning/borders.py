"""How long photographs' straight borders are, and from which length on a picture is none: nothing is learned, the threshold is measured."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from realgrain.detector import domain
from realgrain.detector.domain import Domain
from realgrain.detector.runtime import cores
from realgrain.learning.data import Sample
from realgrain.learning.problem import Problem
from realgrain.picture.borders import straight_borders
from realgrain.picture.conditions import condition
from realgrain.picture.image import open_picture


def measure(problem: Problem, deliveries: Iterable[str]) -> Domain:
    """Set the threshold by the pictures of a problem, each in its worst delivery, and say how often they are beyond it."""
    degrade = {name: condition(name) for name in deliveries}

    def lengths(sample: Sample) -> list[float]:
        pixels = open_picture(sample.file).pixels
        return [straight_borders(of(pixels)) for of in degrade.values()]

    with ThreadPoolExecutor(cores()) as pool:
        found = np.array(list(tqdm(pool.map(lengths, problem.samples), "borders", len(problem.samples), disable=None)))
    return domain.choose(dict(zip(degrade, found.T, strict=True)), problem.fake, problem.source, target=domain.BORDERS_TARGET)
