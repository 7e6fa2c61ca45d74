"""The drawn parts of a sample lesson: slides, the running clock, a landscape that moves by, pages of documents."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from origin.fonts import Font, Typeface
from origin.sample_texts import Chapter, Sample
from origin.terms import Label

SLIDE = (1920, 1080)
INSET = (72, 232, 1152, 648)  # x, y, width, height of the moving picture on a slide
CLOCK = (288, 96)
CLOCK_AT = (1584, 48)
WAVE = (1776, 96)
WAVE_AT = (72, 936)
LANDSCAPE = (1280, 360)
PAGE = (1240, 1754)  # A4 at 150 dots per inch
PAPER = (248, 247, 242)
INK = (28, 30, 38)

Colour = tuple[int, int, int]


def draw_slides(sample: Sample, typeface: Typeface, directory: Path) -> list[Path]:
    """One picture per chapter, as BMP: this ffmpeg reads no PNG."""
    paths = []
    for number, chapter in enumerate(sample.chapters, 1):
        path = directory / f"slide{number:02d}.bmp"
        slide(sample, chapter, number, typeface).save(path)
        paths.append(path)
    return paths


def slide(sample: Sample, chapter: Chapter, number: int, typeface: Typeface) -> Image.Image:
    """A slide: title, the chapter's heading and sentences at the right, room for the moving picture at the left."""
    picture = Image.new("RGB", SLIDE, sample.colour)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((36, 192, SLIDE[0] - 36, SLIDE[1] - 36), 24, fill=PAPER)
    draw.text((72, 40), _shown(sample.title, typeface), font=typeface.at(64), fill="white")
    draw.text((74, 122), sample.title.en, font=typeface.at(36), fill=_lighter(sample.colour))
    left, width = INSET[0] + INSET[2] + 48, SLIDE[0] - INSET[0] - INSET[2] - 48 - 84
    heading = typeface.at(52)
    y = _paragraph(draw, (left, 240), f"{number}  {_shown(chapter.heading, typeface)}", heading, width, sample.colour)
    for sentence in chapter.sentences:
        y = _paragraph(draw, (left, y + 28), _shown(sentence, typeface), typeface.at(38), width, INK)
        if typeface.chinese:
            y = _paragraph(draw, (left, y + 4), sentence.en, typeface.at(26), width, (110, 112, 120))
    return picture


def write_clock(path: Path, seconds: int, typeface: Typeface) -> None:
    """One grey picture per second, raw, with the time since the beginning."""
    font = typeface.at(72)
    width, height = CLOCK
    glyphs = {letter: _glyph(letter, font, height) for letter in "0123456789:"}
    with path.open("wb") as file:
        for second in range(seconds):
            picture = Image.new("L", CLOCK, 20)
            x = 12
            for letter in f"{second // 60:02d}:{second % 60:02d}":
                picture.paste(glyphs[letter], (x, 0))
                x += 44 if letter == ":" else 54
            file.write(picture.crop((0, 0, width, height)).tobytes())


def landscape(sample: Sample, seed: int) -> Image.Image:
    """A wide picture whose ends meet: hills behind hills, a sun, trees and houses. It scrolls by in the lesson."""
    chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    width, height = LANDSCAPE
    picture = Image.new("RGB", LANDSCAPE, (188, 220, 242))
    draw = ImageDraw.Draw(picture)
    sun = chance.randrange(200, width - 200)
    draw.ellipse((sun - 34, 30, sun + 34, 98), fill=(255, 226, 120))
    for layer in range(4):
        shade = tuple(round(255 - (255 - part) * (0.35 + 0.2 * layer)) for part in sample.colour)
        waves = [(chance.randint(1, 5), chance.uniform(0, 6.3), chance.uniform(8, 26)) for _ in range(3)]
        ridge = [(x, 130 + layer * 56 + _ridge(x / width, waves)) for x in range(0, width + 8, 8)]
        draw.polygon([*ridge, (width, height), (0, height)], fill=(shade[0], shade[1], shade[2]))
        _scatter(draw, ridge, layer, chance)
    return picture


def page(heading: str, lines: Sequence[str], typeface: Typeface, colour: Colour, footer: str) -> Image.Image:
    """A printed page."""
    picture = Image.new("RGB", PAGE, "white")
    draw = ImageDraw.Draw(picture)
    y = _paragraph(draw, (110, 110), heading, typeface.at(48), PAGE[0] - 220, colour)
    draw.line((110, y + 16, PAGE[0] - 110, y + 16), fill=colour, width=4)
    y += 48
    for line in lines:
        y = _paragraph(draw, (110, y), line, typeface.at(30), PAGE[0] - 220, INK) + 22
    draw.text((110, PAGE[1] - 90), footer, font=typeface.at(22), fill=(120, 120, 128))
    return picture


def _shown(label: Label, typeface: Typeface) -> str:
    return label.zh if typeface.chinese else label.en


def _paragraph(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font: Font, width: int, colour: Colour
) -> int:
    """Draws text broken to a width; gives the y below it."""
    x, y = at
    height = round(font.size * 1.3)
    for line in _broken(text, font, width):
        draw.text((x, y), line, font=font, fill=colour)
        y += height
    return y


def _broken(text: str, font: Font, width: int) -> list[str]:
    """Lines no wider than `width`: broken at spaces, and between Chinese characters."""
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and font.getlength((lines[-1] + piece).rstrip()) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return lines


def _pieces(text: str) -> list[str]:
    pieces = [""]
    for character in text:
        alone = character == " " or ord(character) > 0x2E7F
        closing = character in "，。、；：？！"
        if (alone and not closing) or (pieces[-1] and ord(pieces[-1][-1]) > 0x2E7F and not closing):
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def _glyph(letter: str, font: Font, height: int) -> Image.Image:
    glyph = Image.new("L", (54, height), 20)
    ImageDraw.Draw(glyph).text((27, height // 2), letter, font=font, fill=240, anchor="mm")
    return glyph


def _lighter(colour: Colour) -> Colour:
    red, green, blue = (round(255 - (255 - part) * 0.35) for part in colour)
    return red, green, blue


def _ridge(share: float, waves: Sequence[tuple[int, float, float]]) -> float:
    return sum(height * math.sin(2 * math.pi * turns * share + shift) for turns, shift, height in waves)


def _scatter(
    draw: ImageDraw.ImageDraw, ridge: Sequence[tuple[float, float]], layer: int, chance: random.Random
) -> None:
    """Trees and houses on a ridge, larger the nearer it is."""
    size = 8 + 7 * layer
    for x, y in chance.sample(ridge[2:-2], 5 + layer):
        if chance.random() < 0.7:
            draw.polygon([(x - size, y + 4), (x + size, y + 4), (x, y - 3 * size)], fill=(30, 92 + 12 * layer, 58))
        else:
            draw.rectangle((x - size, y - size, x + size, y + 4), fill=(214, 190, 160))
            draw.polygon([(x - size - 4, y - size), (x + size + 4, y - size), (x, y - 2 * size)], fill=(150, 60, 50))
