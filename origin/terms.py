"""The platform's words: six sections, and the tags a lesson carries. Ids are ours, names in Chinese and English."""

from __future__ import annotations

import re
from dataclasses import dataclass

from origin.errors import WrongInputError

_TERM_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Label:
    """A text for people, in Chinese and in English."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Term:
    """A tag's value: an id for machines, names for people."""

    id: str
    zh: str
    en: str


def _terms(text: str) -> dict[str, Term]:
    rows = (row.split(" ", 2) for row in text.strip().splitlines())
    return {id_: Term(id_, zh, en) for id_, zh, en in rows}


SECTIONS = _terms("""
special 专题教育 Special topics
curriculum 课程教学 Curriculum
after-school 课后服务 After school
teacher-training 教师研修 Teacher training
family 家庭教育 Family education
reform 教改实践经验 Reform in practice
""")

STAGES = _terms("""
primary 小学 Primary school
junior 初中 Junior middle school
senior 高中 Senior middle school
special-needs 特殊教育 Special needs
""")

GRADES = _terms("""
grade-1 一年级 Grade 1
grade-2 二年级 Grade 2
grade-3 三年级 Grade 3
grade-4 四年级 Grade 4
grade-5 五年级 Grade 5
grade-6 六年级 Grade 6
grade-7 七年级 Grade 7
grade-8 八年级 Grade 8
grade-9 九年级 Grade 9
grade-10 高一 Grade 10
grade-11 高二 Grade 11
grade-12 高三 Grade 12
""")

SUBJECTS = _terms("""
chinese 语文 Chinese
mathematics 数学 Mathematics
english 英语 English
civics 道德与法治 Civics
physics 物理 Physics
chemistry 化学 Chemistry
biology 生物 Biology
history 历史 History
geography 地理 Geography
science 科学 Science
it 信息科技 Information technology
music 音乐 Music
art 美术 Art
sports 体育与健康 Sports and health
labour 劳动 Labour
""")

EDITIONS = _terms("""
unified 统编版 Unified edition
pep 人教版 People's Education Press
bnu 北师大版 Beijing Normal University Press
jiangsu 苏教版 Jiangsu edition
shanghai 沪教版 Shanghai edition
fltrp 外研社版 Foreign Language Teaching and Research Press
""")

VOLUMES = _terms("""
first 上册 First volume
second 下册 Second volume
full 全一册 One volume
""")

# The tag dimensions, in tree order.
DIMENSIONS: dict[str, dict[str, Term]] = {
    "stage": STAGES,
    "grade": GRADES,
    "subject": SUBJECTS,
    "edition": EDITIONS,
    "volume": VOLUMES,
}

ROLES = _terms("""
courseware 课件 Courseware
lesson-plan 教学设计 Lesson plan
task-sheet 学习任务单 Task sheet
exercises 课后练习 Exercises
""")


def section(id_: str) -> Term:
    """A section by its id; raises WrongInputError naming the six."""
    if id_ not in SECTIONS:
        raise WrongInputError(f"section {id_!r} is not known; allowed: {', '.join(SECTIONS)}")
    return SECTIONS[id_]


def tag(dimension: str, id_: str) -> Term:
    """A tag's value by its id. Editions are many: one we have no name for keeps its id as its name."""
    known = DIMENSIONS[dimension]
    if id_ in known:
        return known[id_]
    if dimension == "edition" and _TERM_ID.fullmatch(id_):
        return Term(id_, id_, id_)
    raise WrongInputError(f"{dimension} {id_!r} is not known; allowed: {', '.join(known)}")


def role(id_: str) -> Term:
    """A document's role by its id; raises WrongInputError naming those allowed."""
    if id_ not in ROLES:
        raise WrongInputError(f"document role {id_!r} is not known; allowed: {', '.join(ROLES)}")
    return ROLES[id_]


def language_label(code: str) -> str:
    """What captions of a language are called in a player's menu."""
    return {"zh": "中文", "en": "English"}.get(code.split("-", maxsplit=1)[0], code)
