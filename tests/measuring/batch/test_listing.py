import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.listing import Listing, write_listing

NAMES = [Item(f"p/{number}.jpg", b"/here/p/%d.jpg" % number) for number in range(20)]
MEMBERS = [Item("x.tar#a.jpg", b"/here/x.tar", start=512 * number, size=100) for number in range(1, 21)]


def sample(folder: Path, items: list[Item], limit: int | None) -> list[Item]:
    file = folder / "listing.sqlite"
    ref = write_listing(file, items, limit)
    assert Listing(file).ref() == ref
    return Listing(file).part(0, ref.items)


def test_members_of_one_name_are_told_apart(tmp_path):
    found = sample(tmp_path, MEMBERS * 2, None)
    assert [item.uri for item in found] == ["x.tar#a.jpg", *(f"x.tar#a.jpg@{512 * number}" for number in range(2, 21))]
    assert [replace(item, uri="x.tar#a.jpg") for item in found] == MEMBERS


class TestLimit:
    @pytest.mark.parametrize("items", [NAMES, MEMBERS])
    @pytest.mark.parametrize("limit", [1, 5, 20, 30])
    def test_is_reached_and_no_order_changes_what_is_kept(self, items, limit, tmp_path):
        found = sample(tmp_path, items, limit)
        assert len(found) == min(limit, 20)
        assert sample(tmp_path, items[::-1], limit) == found
        assert sample(tmp_path, items * 2, limit) == found

    def test_is_a_sample_of_larger_ones(self, tmp_path):
        few, many = (sample(tmp_path, NAMES + MEMBERS, limit) for limit in (5, 25))
        assert set(few) < set(many) < set(sample(tmp_path, NAMES + MEMBERS, None))

    def test_keeps_the_same_where_the_folder_is_moved(self, tmp_path):
        moved = [replace(item, where=b"/there" + item.where) for item in NAMES + MEMBERS]
        assert [replace(item, where=b"/there" + item.where) for item in sample(tmp_path, NAMES + MEMBERS, 7)] == sample(tmp_path, moved, 7)

    def test_is_not_held_in_memory(self, tmp_path):
        """A list of what is kept would be; the database has room on the disk."""
        tracemalloc.start()
        write_listing(tmp_path / "listing.sqlite", (Item(f"p/{number}.jpg", b"/here/p/%d.jpg" % number) for number in range(20_000)), 15_000)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 2**20
