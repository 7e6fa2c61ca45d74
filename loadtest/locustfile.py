"""Players against an edge: portal, metadata, playlists, segments at real pace, view events.

    locust -f loadtest/locustfile.py --headless --users 20 --spawn-rate 2 --run-time 60s --host http://127.0.0.1:8080

A player keeps about 18 s in its buffer: it fetches three segments at once, then one for each that has been played.
Anything but the expected status is a failure, and so is a segment of zero bytes; locust then exits with 1.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

import gevent
from locust import HttpUser, between, task

from loadtest.players import Segment, choose_rendition, event, segments, variant_paths

BUFFERED_SEGMENTS = 3
LONGEST_STAY_S = 600


class Player(HttpUser):
    """A viewer who opens the portal, picks a lesson and watches a while."""

    wait_time = between(1, 5)

    def on_start(self) -> None:
        self.viewer = uuid.uuid4().hex
        self.dice = random.Random(self.viewer)
        self._send(event("visit", self.viewer))

    @task
    def watch_a_lesson(self) -> None:
        self.client.get("/", name="/")
        entry = self._pick()
        if entry is None:
            return
        self.client.get(f"/lesson/{entry['id']}", name="/lesson/{id}")
        lesson = self._json(entry["lesson"], "lesson document")
        if lesson is None:
            return
        self._send(event("view", self.viewer, entry["id"]))
        names = [rendition["name"] for rendition in lesson["renditions"]]
        wanted = choose_rendition(names, self.dice)
        chosen = next(item for item in lesson["renditions"] if item["name"] == wanted)
        self.client.get(lesson["master"], name="master playlist")
        tracks = self._tracks(chosen["master"])
        if tracks:
            self._play(entry["id"], tracks)

    def _pick(self) -> dict[str, Any] | None:
        """Any lesson of the catalog; None while nothing is published."""
        version = self._json("/catalog/version.json", "version document")
        shards = [shard["path"] for section in (version or {}).get("sections", []) for shard in section["shards"]]
        if not shards:
            return None
        shard = self._json(self.dice.choice(shards), "shard")
        return self.dice.choice(shard["entries"]) if shard and shard["entries"] else None

    def _tracks(self, master_path: str) -> list[list[Segment]]:
        """The segments of the picture and the sound, each a list in play order; initialisation sections are fetched."""
        master = self.client.get(master_path, name="rendition master").text
        tracks = []
        for path in variant_paths(master, master_path):
            initial, found = segments(self.client.get(path, name="media playlist").text, path)
            for section in initial:
                self._fetch(section, "initialisation section")
            tracks.append(found)
        return tracks

    def _play(self, resource: str, tracks: list[list[Segment]]) -> None:
        """Play in real time for a while: the first segments at once, then one when one has been played."""
        stay_s = self.dice.uniform(20, LONGEST_STAY_S)
        watched_s, played_s = 0.0, 0.0
        for number, row in enumerate(zip(*tracks, strict=False)):
            for segment in row:
                self._fetch(segment.path, "segment")
            if number == 0:
                self._send(event("play", self.viewer, resource))
            if number < BUFFERED_SEGMENTS - 1:
                continue
            duration_s = row[0].duration_s
            gevent.sleep(duration_s)
            watched_s, played_s = watched_s + duration_s, played_s + duration_s
            if watched_s >= 30 or played_s >= stay_s:
                self._send(event("watch", self.viewer, resource, round(watched_s)))
                watched_s = 0.0
            if played_s >= stay_s:
                return

    def _fetch(self, path: str, name: str) -> None:
        with self.client.get(path, name=name, catch_response=True) as response:
            if response.ok and not response.content:
                response.failure("an empty body")

    def _json(self, path: str, name: str) -> dict[str, Any] | None:
        """A JSON document, or None when it could not be had (counted as a failure by locust)."""
        response = self.client.get(path, name=name)
        return response.json() if response.ok else None

    def _send(self, view_event: dict[str, Any]) -> None:
        with self.client.post("/v1/views", json=view_event, name="view event", catch_response=True) as response:
            if response.status_code != 202:
                response.failure(f"{response.status_code} instead of 202")
            elif response.json()["accepted"] != 1:
                response.failure(f"not accepted: {response.text}")
