"""An HLS master playlist as a value: read from what the packager wrote, narrowed to one rendition, written again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


@dataclass(frozen=True, slots=True)
class Variant:
    """One #EXT-X-STREAM-INF line and its playlist."""

    attributes: str
    uri: str

    @property
    def bandwidth(self) -> int:
        """Peak bit/s, sound included."""
        return int(_attributes(self.attributes)["BANDWIDTH"])

    @property
    def average_bandwidth(self) -> int:
        """Mean bit/s, sound included."""
        found = _attributes(self.attributes)
        return int(found.get("AVERAGE-BANDWIDTH", found["BANDWIDTH"]))


@dataclass(frozen=True, slots=True)
class Master:
    """A master playlist: its #EXT-X-MEDIA lines and its variants, from the lowest bandwidth up."""

    media: tuple[str, ...]
    variants: tuple[Variant, ...]

    def only(self, prefix: str) -> Master:
        """The same with just the variants whose playlist lies under `prefix`."""
        return replace(self, variants=tuple(one for one in self.variants if one.uri.startswith(prefix)))

    def relative_to(self, prefix: str) -> Master:
        """The same for a playlist that lies in the folder `prefix`."""
        media = tuple(line.replace(f'URI="{prefix}', 'URI="') for line in self.media)
        return Master(media, tuple(replace(one, uri=one.uri.removeprefix(prefix)) for one in self.variants))

    def render(self) -> str:
        """The playlist's text."""
        lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-INDEPENDENT-SEGMENTS", *self.media]
        for variant in self.variants:
            lines += [f"#EXT-X-STREAM-INF:{variant.attributes}", variant.uri]
        return "\n".join(lines) + "\n"


def parse_master(text: str) -> Master:
    """Reads a master playlist; lines that are not about renditions are left out."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # The only sound there is should play without being chosen.
    media = tuple(line.replace("DEFAULT=NO", "DEFAULT=YES") for line in lines if line.startswith("#EXT-X-MEDIA:"))
    variants = [
        Variant(line.removeprefix("#EXT-X-STREAM-INF:"), lines[at + 1])
        for at, line in enumerate(lines)
        if line.startswith("#EXT-X-STREAM-INF:")
    ]
    return Master(media, tuple(sorted(variants, key=lambda variant: variant.bandwidth)))


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}
