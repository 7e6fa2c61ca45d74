"""A small MMDB file with records as in GeoLite2-City."""

from __future__ import annotations

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

KNOWN: dict[str, tuple[str, str]] = {
    "198.51.100.0/25": ("CN", "GD"),
    "198.51.100.128/25": ("CN", ""),
    "203.0.113.0/24": ("HK", ""),
    "192.0.2.0/24": ("SG", ""),
    "2001:db8:44::/48": ("CN", "GD"),
}


def write_atlas(path: Path, networks: dict[str, tuple[str, str]] | None = None) -> Path:
    """Write one, put into its place by renaming. networks: country and subdivision by network."""
    writer = MMDBWriter(6, "GeoLite2-City", languages=["en"], ipv4_compatible=True)
    for network, (country, subdivision) in (networks or KNOWN).items():
        record: dict[str, object] = {"country": {"iso_code": country}}
        if subdivision:
            record["subdivisions"] = [{"iso_code": subdivision}]
        writer.insert_network(IPSet([network]), record)
    fresh = path.with_suffix(".new")
    writer.to_db_file(str(fresh))
    fresh.replace(path)
    return path
