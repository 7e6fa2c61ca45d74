"""Sound that has speech's rhythm and vowels and says nothing: for sample lessons.

Each syllable is a pulse train with one of the four tones of Chinese as its melody, through three resonators at the
formants of a vowel, after a short burst of noise as its consonant. A few dozen syllables are computed once and then
strung together, so two minutes cost half a second in plain Python.
"""

from __future__ import annotations

import math
import random
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RATE_HZ = 16_000
SYLLABLE_S = 0.21
PAUSE_S = 0.28
REST_S = 0.7
PEAK = 9000

# First three formants in Hz: a, i, u, e, o, ü.
VOWELS = (
    (800, 1200, 2600),
    (300, 2300, 3000),
    (350, 700, 2500),
    (500, 1500, 2500),
    (500, 900, 2500),
    (320, 1900, 2400),
)
BANDWIDTHS = (80, 100, 140)
# Pitch at the beginning, middle and end of a syllable, relative to the speaker's.
TONES = ((1.25, 1.25, 1.25), (0.9, 1.05, 1.3), (0.95, 0.75, 0.95), (1.35, 1.05, 0.75))


@dataclass(frozen=True, slots=True)
class Phrase:
    """Someone speaks from start_s to end_s: so many syllables, then as many more as there is time for."""

    start_s: float
    end_s: float
    syllables: int


def write_speech(path: Path, phrases: Sequence[Phrase], duration_s: float, pitch_hz: float, seed: int) -> None:
    """Writes a mono WAV of this length. pitch_hz: of the speaker; seed: which syllables follow each other."""
    chance = random.Random(seed)  # noqa: S311  (repeatable, not secret)
    stock = [_syllable(vowel, tone, pitch_hz, chance) for vowel in VOWELS for tone in TONES]
    samples = array("h", bytes(2 * round(duration_s * RATE_HZ)))
    for phrase in phrases:
        _speak(samples, phrase, stock, chance)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())


def _speak(samples: array[int], phrase: Phrase, stock: Sequence[array[int]], chance: random.Random) -> None:
    at = phrase.start_s
    spoken = 0
    while at + SYLLABLE_S < phrase.end_s - REST_S:
        sound = chance.choice(stock)
        begin = round(at * RATE_HZ)
        end = min(begin + len(sound), len(samples))
        samples[begin:end] = sound[: end - begin]
        spoken += 1
        at += SYLLABLE_S + chance.uniform(-0.01, 0.03)
        if spoken % phrase.syllables == 0:
            at += REST_S
        elif spoken % 6 == 0:
            at += PAUSE_S


def _syllable(vowel: Sequence[int], tone: Sequence[float], pitch_hz: float, chance: random.Random) -> array[int]:
    count = round(SYLLABLE_S * RATE_HZ)
    sound = _excitation(count, tone, pitch_hz, chance)
    for formant, bandwidth in zip(vowel, BANDWIDTHS, strict=True):
        sound = _resonated(sound, formant, bandwidth)
    loudest = max(abs(value) for value in sound) or 1.0
    return array("h", (round(PEAK * value / loudest * _envelope(at / count)) for at, value in enumerate(sound)))


def _excitation(count: int, tone: Sequence[float], pitch_hz: float, chance: random.Random) -> list[float]:
    """A consonant's noise for the first tenth, then a pulse at each period of the voice, with a little breath."""
    phase = 0.0
    sound = []
    for at in range(count):
        share = at / count
        pitch = _between(tone, share) * pitch_hz
        phase += pitch / RATE_HZ
        pulse = 0.0
        if phase >= 1.0:
            phase -= 1.0
            pulse = 1.0
        sound.append(chance.uniform(-0.25, 0.25) if share < 0.1 else pulse + chance.uniform(-0.01, 0.01))
    return sound


def _resonated(sound: Sequence[float], formant_hz: float, bandwidth_hz: float) -> list[float]:
    radius = math.exp(-math.pi * bandwidth_hz / RATE_HZ)
    first = 2 * radius * math.cos(2 * math.pi * formant_hz / RATE_HZ)
    second = -radius * radius
    gain = 1 - first - second
    before = last = 0.0
    result = []
    for value in sound:
        last, before = gain * value + first * last + second * before, last
        result.append(last)
    return result


def _between(points: Sequence[float], share: float) -> float:
    start, middle, end = points
    return start + (middle - start) * share * 2 if share < 0.5 else middle + (end - middle) * (share * 2 - 1)


def _envelope(share: float) -> float:
    return min(1.0, share / 0.08, (1 - share) / 0.25)
