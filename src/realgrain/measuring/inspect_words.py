"""The figures of a look in sentences. What is called weak or strong, near or far, is our choice."""

from __future__ import annotations

from collections.abc import Iterator

from realgrain.measuring.inspect_results import Finding, Head, Look, Share, Silhouette

NEAR = 0.02  # silhouettes and AUCs that differ by less are called alike


def findings(look: Look) -> list[Finding]:
    """Every figure of a look with the sentence that says what it means; what could not be measured is left out."""
    return [*_silhouettes(look), *_purities(look), *_distances(look), *(of for name, head in look.heads.items() for of in _head(name, head))]


def conclusion(look: Look) -> str:
    """What the figures of a look say together, in a sentence or two."""
    label, source = look.by_label.cosine, look.by_source.cosine
    if label is None or source is None:
        grouped = "With one source for each label, what the label does and what the source does cannot be told apart."
    elif source > label + NEAR:
        grouped = f"The pictures cluster by where they come from (silhouette {source:.2f}) rather than by whether they are real ({label:.2f})."
    else:
        grouped = (
            f"The pictures cluster by whether they are real (silhouette {label:.2f}) at least as much as by where they come from ({source:.2f})."
        )
    told = [f"{head.random:.2f} and {head.left_out:.2f} ({name})" for name, head in look.heads.items() if head.left_out is not None]
    if not told:
        return grouped
    return f"{grouped} AUC of a linear head on sources that it has seen, and on sources that it has not: {'; '.join(told)}."


def _silhouettes(look: Look) -> Iterator[Finding]:
    yield from _silhouette("real against fake", look.by_label, "the two labels lie in each other", "they are two separate clusters")
    yield from _silhouette("sources", look.by_source, "pictures of a source are strewn among the others", "each source is a cluster of its own")
    share = look.divisions_as_good
    if share is not None:
        yield Finding(
            name="Arbitrary divisions as good as the label",
            value=f"{share:.0%}",
            says=f"Of other ways to deal the same sources into two sides, {share:.0%} cluster at least as well as real and fake do; "
            + ("the label is nothing special to this tower." if share > 0.05 else "so the label is more to this tower than any grouping of sources."),
        )


def _silhouette(of: str, found: Silhouette, zero: str, one: str) -> Iterator[Finding]:
    for metric, value in (("cosine", found.cosine), ("euclidean", found.euclidean)):
        if value is not None:
            yield Finding(
                name=f"Silhouette of {of}, {metric}",
                value=f"{value:.3f}",
                says=f"From -1 to 1. At 0 {zero}, at 1 {one}; below 0 pictures lie nearer to another group than to their own.",
            )


def _purities(look: Look) -> Iterator[Finding]:
    yield _purity("of its label", look.label_purity, "of a picture's nearest neighbours share its label")
    if look.label_purity_elsewhere:
        says = "of its nearest neighbours among pictures of other sources share its label, which is what the label does without the source"
        yield _purity("of its label, from other sources", look.label_purity_elsewhere, says)
    yield _purity("of its source", look.source_purity, "of a picture's nearest neighbours come from its own source")


def _purity(of: str, share: Share, says: str) -> Finding:
    about = "about as many as" if abs(share.value - share.chance) < NEAR else "more than" if share.value > share.chance else "fewer than"
    return Finding(
        name=f"Nearest neighbours {of}", value=f"{share.value:.0%}", says=f"{share.value:.0%} {says}: {about} by chance, {share.chance:.0%}."
    )


def _distances(look: Look) -> Iterator[Finding]:
    for name, distance in sorted(look.generators.items(), key=lambda item: -item[1].ratio):
        where = "as far as" if abs(distance.ratio - 1) < 0.1 else "farther than" if distance.ratio > 1 else "nearer than"
        yield Finding(
            name=f"Distance of {name} from real",
            value=f"{distance.ratio:.2f}",
            says=f"Its {distance.n} pictures lie {where} a real source that is left out lies from the other real sources, which is 1.",
        )


def _head(name: str, head: Head) -> Iterator[Finding]:
    seen = "of sources that it has seen" if head.pairs else "left out at random"
    yield Finding(
        name=f"Linear head, {name}: AUC, random folds",
        value=f"{head.random:.3f}",
        says=f"How often a head gives a generated picture {seen} a higher score than a photograph; 0.5 is chance, 1 is always.",
    )
    if head.left_out is not None and head.gap is not None:
        yield Finding(
            name=f"Linear head, {name}: AUC, left-out sources",
            value=f"{head.left_out:.3f}",
            says="The same for the same pictures, by heads that had not seen their sources: what carries over to new generators and cameras.",
        )
        yield Finding(
            name=f"Linear head, {name}: shortcut",
            value=f"{head.gap:.3f}",
            says="The difference: "
            + ("what the head had learned of the sources and not of generation." if head.gap > NEAR else "none to speak of; it carries over."),
        )
