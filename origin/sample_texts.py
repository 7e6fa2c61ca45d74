"""What the six sample lessons are about, one per section of the platform. Written for this project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from origin.terms import Label


@dataclass(frozen=True, slots=True)
class Chapter:
    """One slide: its heading and three sentences, which are spoken and shown as captions too."""

    heading: Label
    sentences: tuple[Label, Label, Label]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample lesson. colour: of its slides, RGB. pitch_hz: of the speaker's voice."""

    id: str
    section: str
    title: Label
    description: Label
    tags: Mapping[str, str]
    colour: tuple[int, int, int]
    pitch_hz: float
    chapters: tuple[Chapter, ...]


def _chapters(text: str) -> tuple[Chapter, ...]:
    """Blocks of four lines (a heading and three sentences), Chinese and English divided by a bar."""
    chapters = []
    for block in text.strip().split("\n\n"):
        heading, *sentences = (Label(*(part.strip() for part in line.split("|"))) for line in block.splitlines())
        first, second, third = sentences
        chapters.append(Chapter(heading, (first, second, third)))
    return tuple(chapters)


SAMPLES = (
    Sample(
        id="lesson-000001",
        section="special",
        title=Label("珍惜每一滴水", "Every drop counts"),
        description=Label(
            "从一滴水出发，认识水循环和节约用水的方法。", "The water cycle, and how a school saves water."
        ),
        tags={"stage": "primary", "grade": "grade-4", "subject": "science"},
        colour=(20, 92, 140),
        pitch_hz=190,
        chapters=_chapters("""
水从哪里来 | Where water comes from
太阳把海洋里的水变成水汽。 | The sun turns the water of the sea into vapour.
水汽升到高空，遇冷变成云。 | Vapour rises, cools and becomes clouds.
云里的水落下来，就是雨和雪。 | What falls from the clouds is rain and snow.

水去了哪里 | Where water goes
雨水流进小溪、江河和湖泊。 | Rain runs into brooks, rivers and lakes.
有一些水渗入地下，成为地下水。 | Some of it seeps into the ground.
最后它们又回到大海里去。 | In the end it returns to the sea.

我们能用的水很少 | Little of it is for us
地球上的水绝大多数是咸水。 | Nearly all the water of the earth is salty.
淡水的大部分冻在冰川里。 | Most fresh water is frozen in glaciers.
我们能直接使用的还不到百分之一。 | Less than one percent is ready for use.

从今天做起 | Starting today
洗手的时候把水龙头开小一点。 | Open the tap only a little to wash your hands.
洗菜的水可以用来浇花。 | Water from washing vegetables is good for flowers.
看见滴水的龙头，随手关紧它。 | When you see a dripping tap, turn it off.
"""),
    ),
    Sample(
        id="lesson-000002",
        section="curriculum",
        title=Label("认识分数", "Meeting fractions"),
        description=Label("把一个整体平均分，用分数表示其中的几份。", "Sharing a whole equally, and naming the parts."),
        tags={
            "stage": "primary",
            "grade": "grade-3",
            "subject": "mathematics",
            "edition": "pep",
            "volume": "first",
        },
        colour=(30, 64, 150),
        pitch_hz=165,
        chapters=_chapters("""
平均分 | Sharing equally
把一个月饼平均分成两份。 | Cut a moon cake into two equal parts.
每一份是这个月饼的二分之一。 | Each part is one half of the cake.
只有平均分，才能用分数表示。 | Only equal parts can be named by fractions.

读和写 | Reading and writing
分数线表示平均分。 | The line stands for sharing equally.
下面的数叫分母，是总份数。 | The number below, the denominator, counts all parts.
上面的数叫分子，是取的份数。 | The number above, the numerator, counts those taken.

比一比 | Comparing
分的份数越多，每一份就越小。 | The more parts there are, the smaller each is.
四分之一比二分之一小。 | One fourth is less than one half.
分母相同，分子大的分数大。 | With equal denominators the larger numerator wins.

练一练 | Practice
请你折一折，找到八分之三。 | Fold a sheet of paper and find three eighths.
请你涂一涂，表示五分之二。 | Colour a bar to show two fifths.
和同桌说一说你是怎么想的。 | Tell your neighbour how you thought about it.
"""),
    ),
    Sample(
        id="lesson-000003",
        section="after-school",
        title=Label("动手做：纸桥能承多重", "Hands on: how much can a paper bridge bear"),
        description=Label("用一张纸搭一座桥，看看形状怎样改变强度。", "One sheet of paper, many bridges."),
        tags={"stage": "primary", "grade": "grade-5", "subject": "science"},
        colour=(150, 78, 24),
        pitch_hz=140,
        chapters=_chapters("""
准备材料 | What you need
两摞一样高的书和一张纸。 | Two piles of books of one height, and a sheet of paper.
还要一些硬币当作砝码。 | And some coins as weights.
先猜一猜，再动手试一试。 | First guess, then try.

平的桥 | A flat bridge
把纸平放在两摞书上面。 | Lay the paper flat across the books.
放上几枚硬币，纸就弯下去了。 | A few coins, and it sags.
把这时的硬币数记下来。 | Write down how many it was.

折一折 | Folding
把纸折成一道一道的波浪。 | Fold the paper into waves.
同一张纸现在站得很稳。 | The same paper now stands firm.
数一数，它能放多少枚硬币。 | Count how many coins it carries.

想一想 | Thinking
材料没有变，形状变了。 | The material is the same, the shape is not.
屋顶和纸箱里也有这种波浪。 | Roofs and cardboard hide such waves too.
你还能想出别的形状吗？ | Can you think of another shape?
"""),
    ),
    Sample(
        id="lesson-000004",
        section="teacher-training",
        title=Label("课堂提问的艺术", "The art of asking in class"),
        description=Label("好的问题让学生思考，也让教师听见思考。", "Questions that make thinking audible."),
        tags={"stage": "junior"},
        colour=(92, 40, 120),
        pitch_hz=120,
        chapters=_chapters("""
为什么提问 | Why we ask
提问不是为了考倒学生。 | We do not ask to catch students out.
提问是为了看见他们的想法。 | We ask to see their thinking.
一个好问题有不止一条路。 | A good question has more than one way in.

等待的时间 | Time to wait
提问以后，请安静地等三秒钟。 | After asking, wait quietly for three seconds.
等待让更多的学生想下去。 | Waiting lets more students go on thinking.
不要急着说出自己的答案。 | Do not hurry to give your own answer.

追问 | Asking on
你是怎么知道的？ | How do you know?
有没有别的办法？ | Is there another way?
如果条件变了，会怎么样？ | What if the conditions change?

课后反思 | Afterwards
记下一个让你意外的回答。 | Note one answer that surprised you.
和同事一起听一段录音。 | Listen to a recording with a colleague.
下一节课，只改进一个问题。 | Next lesson, improve just one question.
"""),
    ),
    Sample(
        id="lesson-000005",
        section="family",
        title=Label("陪孩子一起阅读", "Reading together"),
        description=Label("每天二十分钟，让家里有读书的声音。", "Twenty minutes a day for reading at home."),
        tags={"stage": "primary", "grade": "grade-1", "subject": "chinese"},
        colour=(150, 40, 70),
        pitch_hz=205,
        chapters=_chapters("""
选一个时间 | Choose a time
每天在同一个时间读书。 | Read at the same time each day.
把手机放到另一个房间。 | Leave the phone in another room.
二十分钟就已经足够了。 | Twenty minutes are enough.

选一本书 | Choose a book
让孩子自己挑选想读的书。 | Let the child choose the book.
读过的书也可以再读一遍。 | A book may be read again.
图画也是故事的一部分。 | Pictures are part of the story.

怎样读 | How to read
慢慢地读，读出人物的语气。 | Read slowly, with the voices of the people in it.
停下来，猜一猜后面的故事。 | Stop and guess what comes next.
孩子提问的时候，先听完。 | When the child asks, hear it to the end.

读完以后 | Afterwards
请孩子讲给家里人听。 | Let the child tell it to the family.
画一画最喜欢的那一页。 | Draw the page you like best.
把书名写进阅读记录里。 | Write the title into the reading log.
"""),
    ),
    Sample(
        id="lesson-000006",
        section="reform",
        title=Label("山里的双师课堂", "Two teachers for one class in the hills"),
        description=Label("一块屏幕连起两间教室：一所山区学校的经验。", "A village school's experience."),
        tags={"stage": "primary", "subject": "english"},
        colour=(28, 110, 70),
        pitch_hz=130,
        chapters=_chapters("""
我们的学校 | Our school
全校六个班，只有九位老师。 | Six classes, and only nine teachers.
英语课和音乐课没有专职老师。 | None of them trained for English or music.
孩子们也想上一样好的课。 | The children want lessons as good as anybody's.

两位老师 | Two teachers
城里的老师在屏幕上讲课。 | A teacher in the city speaks from the screen.
我们的老师在教室里辅导。 | Ours helps in the classroom.
课前一起备课，课后一起总结。 | They prepare and look back together.

遇到的困难 | What was hard
网络不稳时，先下载再上课。 | When the network is poor, we download first.
一节课里只安排两次互动。 | We plan only two exchanges a lesson.
每个学生都有自己的任务单。 | Every student has a task sheet.

一年以后 | One year later
孩子们敢开口说英语了。 | The children dare to speak English.
本地老师也能独立上课了。 | The local teacher now teaches it alone.
更多的学校加入了进来。 | More schools have joined.
"""),
    ),
)
