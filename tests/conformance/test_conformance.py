"""The edge does what the specifications say, case by case, over real sockets."""

from __future__ import annotations

import re

import pytest

from tests.conformance.cases import CASES
from tests.conformance.conftest import World
from tests.conformance.deviations import DEVIATIONS
from tests.conformance.dialogue import DisagreementError, perform
from tests.conformance.model import Case, Together

AT_LEAST = 300
_SECTION = re.compile(r"RFC \d{4}, \d+(\.\d+)*")


def _parameters() -> list[object]:
    deviates = pytest.mark.xfail
    return [
        pytest.param(
            case,
            id=case.id,
            marks=[deviates(strict=True, raises=DisagreementError, reason=DEVIATIONS[case.id])]
            if case.id in DEVIATIONS
            else [],
        )
        for case in CASES
    ]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", _parameters())
async def test_edge_conforms(case: Case, world: World) -> None:
    await perform(case, world.host, world.port, world.origin)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= AT_LEAST


def test_ids_are_unique() -> None:
    ids = [case.id for case in CASES]
    assert sorted(set(ids)) == sorted(ids)


def test_ids_can_stand_in_a_path() -> None:
    assert [case.id for case in CASES if not re.fullmatch(r"[a-z0-9.=_-]+", case.id)] == []


def test_every_case_names_its_section() -> None:
    assert [case.id for case in CASES if not _SECTION.fullmatch(case.section)] == []


def test_no_two_cases_say_the_same() -> None:
    said = [(case.section, case.origin, [_wanted(case)]) for case in CASES]
    assert [CASES[index].id for index, one in enumerate(said) if one in said[:index]] == []


def test_every_case_has_claims() -> None:
    assert [case.id for case in CASES if not any(_wanted(case))] == []


def test_deviations_are_cases() -> None:
    assert set(DEVIATIONS) <= {case.id for case in CASES}


def _wanted(case: Case) -> list[tuple[str, ...]]:
    """The requests of a case with the sentences of their claims."""
    asks = [ask for step in case.client for ask in (step.asks if isinstance(step, Together) else (step,))]
    return [(ask.method, ask.at, *ask.fields, ask.raw or "", *(claim.text for claim in ask.claims)) for ask in asks]
