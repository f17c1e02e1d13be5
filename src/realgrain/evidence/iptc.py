"""IPTC-IIM 4.2, the old form of IPTC's metadata: which program, whom to credit. The digital source type exists in XMP only."""

from __future__ import annotations

from realgrain.evidence.claims import Claim
from realgrain.evidence.containers import Block

MAX_SETS = 1000  # data sets that are read (our choice)
_PROGRAM, _VERSION, _CREATED, _CREDIT = (2, 65), (2, 70), (2, 55), (2, 110)


def claims(block: Block) -> list[Claim]:
    """What a block of data sets says: each a marker 0x1C, record, number, size and text (IIM clause 1.5)."""
    at, found = 0, dict[tuple[int, int], str]()
    data = block.data
    for _ in range(MAX_SETS):
        if at + 5 > len(data) or data[at] != 0x1C:
            break
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if size & 0x8000:  # an extended size, which no text needs
            break
        found.setdefault((data[at + 1], data[at + 2]), data[at + 5 : at + 5 + size].decode("utf-8", "replace"))
        at += 5 + size
    software = f"{found.get(_PROGRAM, '')} {found.get(_VERSION, '')}".strip()
    said = {"software": software, "credit": found.get(_CREDIT), "time": found.get(_CREATED)}
    return [Claim(kind="iptc", place=block.place, **said)] if any(said.values()) else []
