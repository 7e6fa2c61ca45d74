"""A sheet adds up, groups and ranks exactly what was put in, whatever came before."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.counters.sheet import SEEN, VIEWS, Register, Sheet, grouped, highest, tabulated

PROVINCES = 3
NAMES = [b"r%d" % n for n in range(150)]
COUNTS = st.integers(0, 2**50)
PUTS = st.lists(
    st.tuples(
        st.integers(0, PROVINCES - 1),
        st.one_of(st.none(), st.dictionaries(st.sampled_from(NAMES), st.tuples(COUNTS, COUNTS, COUNTS), max_size=40)),
    ),
    max_size=12,
)
Model = list[dict[bytes, tuple[int, int, int]]]


def filled(puts: Any) -> tuple[Register, Sheet, Model]:
    """A sheet after some changes (None: cleared), and the same in plain dictionaries."""
    register = Register()
    model: Model = [{} for _ in range(PROVINCES)]
    sheet = Sheet(PROVINCES, register)
    for province, counts in puts:
        if counts is None:
            sheet.clear(province)
            model[province].clear()
        elif counts:
            sheet.put(province, register.rows(list(counts)), np.array(list(counts.values()), np.int64).T)
            model[province] |= counts
    return register, sheet, model


@given(PUTS)
def test_sums_over_provinces_and_over_rows_are_those_of_the_parts(puts: Any) -> None:
    register, sheet, model = filled(puts)
    for wanted in (None, [0], [2, 1]):
        together = sheet.together(wanted)
        those = [model[one] for one in (range(PROVINCES) if wanted is None else wanted)]
        for row, name in enumerate(register.ids):
            counts = [one[name.encode()] for one in those if name.encode() in one]
            assert together[:SEEN, row].tolist() == [sum(column) for column in zip(*counts, strict=True)] or not counts
            assert together[SEEN, row] == len(counts)
    sums = sheet.sums(range(PROVINCES))
    mask = np.array([name.endswith("1") for name in register.ids], np.bool_)
    masked = sheet.sums(range(PROVINCES), mask)
    for province in range(PROVINCES):
        assert sums[province, VIEWS] == sum(counts[0] for counts in model[province].values())
        assert sheet.total(province).tolist() == sums[province].tolist()
        assert masked[province, VIEWS] == sum(n[0] for name, n in model[province].items() if name.endswith(b"1"))


@given(PUTS, st.integers(0, 60), st.integers(1, 60))
def test_a_page_of_a_ranking_is_what_sorting_all_gives(puts: Any, first: int, count: int) -> None:
    register, sheet, _ = filled(puts)
    views = sheet.together()[VIEWS]
    among = np.array([not name.endswith("7") for name in register.ids], np.bool_)
    rows = highest(views, register.ranks(), among, first, count)
    names = [name for name in register.ids if not name.endswith("7")]
    ranked = sorted(names, key=lambda name: (-views[register.find(name)], name))
    assert [register.ids[row] for row in rows] == ranked[first : first + count]


@given(PUTS, st.integers(1, 5))
def test_groups_add_up_to_the_whole(puts: Any, count: int) -> None:
    register, sheet, _ = filled(puts)
    values = sheet.together()
    groups = np.array([int(name[1:]) % count for name in register.ids], np.intp)
    sums = grouped(values, groups, count)
    assert sums.sum(axis=1).tolist() == values.sum(axis=1).tolist()
    for group in range(count):
        assert sums[VIEWS, group] == values[VIEWS, groups == group].sum()


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), COUNTS), min_size=3, max_size=3))
def test_rankings_become_rows_with_zeros_where_one_lacks_a_resource(rankings: list[dict[bytes, int]]) -> None:
    register = Register()
    given_ = [(register.rows(list(one)), np.array(list(one.values()), np.int64)) for one in rankings]
    rows, values = tabulated(given_, len(register))
    found = {register.ids[row].encode(): values[:, place].tolist() for place, row in enumerate(rows)}
    assert found == {name: [one.get(name, 0) for one in rankings] for name in set().union(*rankings)}
