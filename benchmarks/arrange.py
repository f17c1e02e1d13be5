"""Arranges labelled pictures as a tree of a benchmark's published layout, to try on it what is to be run on the real one.

The tree has the layout and nothing else of the benchmark: its pictures are the manifest's, whatever the folders are called. Which of our
sources went under which published name is written beside the tree, to OUT.csv, picture by picture. Figures on such a tree are no figures
on the benchmark.

    python benchmarks/arrange.py DATA/manifest.csv OUT --benchmark genimage
    python benchmarks/arrange.py DATA/manifest.csv OUT --benchmark universalfakedetect --split test --copy
"""

import argparse
import csv
import os
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.benchmarks import NAMES, benchmark

COLUMNS = ("path", "label", "published_set", "our_generator", "our_source", "our_split", "our_path")


@dataclass(frozen=True)
class Folder:
    """A folder of the layout, and the sets whose pictures it holds: several where sets share real pictures."""

    path: str
    label: str
    sets: tuple[str, ...]


def folders(name: str, layout: str = "") -> list[Folder]:
    """Folders that a benchmark tests on, found by letting it read a tree of empty files.

    Args:
        name: of a benchmark of folders.
        layout: of its layouts; the first by default.

    Raises:
        ValueError: it is none of folders, or has no such layout.
    """
    of = benchmark(name)
    if layout and layout not in of.layout:
        raise ValueError(f"{name} has the layouts {', '.join(of.layout)}, not {layout}")
    with tempfile.TemporaryDirectory() as scratch:
        for path in of.layout[layout or next(iter(of.layout))]:
            file = Path(scratch, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for sample in of.samples(Path(scratch)):
            if sample.split == "test":
                found[Path(sample.path).parent.as_posix(), sample.label].append(sample.set)
    return [Folder(path, label, tuple(sets)) for (path, label), sets in found.items()]


def deal(sources: Mapping[str, int], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Published names for each of our sources, so that every name is used.

    With more names than sources, the source with most pictures for each of its names gets another; with fewer, the smallest source goes to the name
    that has the fewest pictures. No likeness between a source and a name is meant.

    Args:
        sources: pictures of each.
        names: at least one.
    """
    largest_first = sorted(sources, key=lambda source: (-sources[source], source))
    given: dict[str, list[str]] = {source: [] for source in largest_first}
    load = dict.fromkeys(names, 0)
    for source in largest_first:
        name = min(names, key=lambda name: load[name])
        given[source].append(name)
        load[name] += sources[source]
    for name in names:
        if not load[name]:
            source = max(largest_first, key=lambda source: sources[source] / len(given[source]))
            given[source].append(name)
            load[name] = 1
    return {source: tuple(of) for source, of in given.items()}


def placed(samples: Sequence[Sample], into: Sequence[Folder]) -> Iterator[tuple[Sample, Folder]]:
    """Each picture with its folder: a source's fakes go in turn to the names dealt to it, real pictures of each source in turn to all folders."""
    fakes = [folder for folder in into if folder.label == "fake"]
    reals = [folder for folder in into if folder.label == "real"]
    names = tuple(dict.fromkeys(name for folder in fakes for name in folder.sets))
    dealt = deal(Counter(sample.source for sample in samples if sample.fake), names)
    turns = {source: cycle([folder for name in of for folder in fakes if name in folder.sets]) for source, of in dealt.items()}
    turn = cycle(reals)
    for sample in sorted(samples, key=lambda sample: (sample.label, sample.source, sample.path)):
        yield sample, next(turns[sample.source] if sample.fake else turn)


def arrange(samples: Sequence[Sample], into: Sequence[Folder], out: Path, *, copy: bool = False) -> list[dict[str, str]]:
    """Make the tree and the table beside it; returns the table's rows.

    Args:
        samples: labelled, of both classes.
        into: folders of the layout.
        out: must not exist.
        copy: the files, instead of links to them.

    Raises:
        FileExistsError: the tree is there already.
        ValueError: a class has no pictures.
    """
    if {sample.label for sample in samples} != {"real", "fake"}:
        raise ValueError("pictures of both classes are needed")
    out.mkdir(parents=True)
    rows = []
    for number, (sample, folder) in enumerate(placed(samples, into)):
        path = Path(folder.path, f"{number:06d}{sample.file.suffix}")
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(sample.file, target)
        else:
            target.symlink_to(os.path.relpath(sample.file.resolve(), target.parent.resolve()))
        ours = (sample.generator, sample.source, sample.split, sample.path)
        rows.append(dict(zip(COLUMNS, (path.as_posix(), sample.label, "+".join(folder.sets), *ours), strict=True)))
    with out.with_name(f"{out.name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def main() -> int:
    """Read the manifest, make the tree, say what became of what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path, help="folder to make; OUT.csv beside it says what is what")
    parser.add_argument("--benchmark", required=True, choices=NAMES)
    parser.add_argument("--layout", default="", help="of the benchmark's layouts; its first by default")
    parser.add_argument("--split", default="", help="only pictures of this split of the manifest")
    parser.add_argument("--copy", action="store_true", help="copy the files instead of linking to them")
    given = parser.parse_args()
    samples = [sample for sample in read_manifest(given.manifest) if given.split in {"", sample.split}]
    try:
        rows = arrange(samples, folders(given.benchmark, given.layout), given.out, copy=given.copy)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for (name, source), count in sorted(Counter((row["published_set"], row["our_source"]) for row in rows if row["label"] == "fake").items()):
        print(f"{name}: {count} of our {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
