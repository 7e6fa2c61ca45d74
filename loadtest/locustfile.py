"""Players against an edge: portal, metadata, playlists, segments at real pace, view events.

    locust -f loadtest/locustfile.py --headless --users 20 --spawn-rate 2 --run-time 60s --host http://127.0.0.1:8080

A viewer fetches three segments at once, then one for each that has been played. Anything but the expected status is a
failure, and so are an empty segment, an event that is not accepted, and a picture that gets stuck because a segment
came too late; locust then exits with 1. When the time is over, viewers leave as people do: the request on its way is
finished, the seconds watched since the last report are told. So what the edge has counted afterwards is what was sent.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Any

from gevent.event import Event
from locust import HttpUser, between, events, task
from locust.env import Environment

from loadtest.players import PlaylistError, Segment, Step, choose_rendition, event, segments, timetable, variant_paths

SHORTEST_STAY_S = 20
LONGEST_STAY_S = 600
LEAVE_WITHIN_S = 10.0
REQUEST_WITHIN_S = 30.0

# Set when the run ends.
closing = Event()


def give_time_to_leave(environment: Environment, **_: object) -> None:
    """Without it, locust would cut viewers off in the middle of a request."""
    environment.stop_timeout = environment.stop_timeout or LEAVE_WITHIN_S


def open_doors(**_: object) -> None:
    """A run may follow another in the same process."""
    closing.clear()


def close_doors(**_: object) -> None:
    """Wake every viewer, so that it leaves."""
    closing.set()


for hook, listener in (
    (events.init, give_time_to_leave),
    (events.test_start, open_doors),
    (events.test_stopping, close_doors),
):
    hook.add_listener(listener)  # type: ignore[no-untyped-call]


class Player(HttpUser):
    """A viewer who opens the portal, picks a lesson and watches a while."""

    wait_time = between(1, 5)

    def on_start(self) -> None:
        self.viewer = uuid.uuid4().hex
        self.dice = random.Random(self.viewer)
        self._tell("visit")

    @task
    def watch_a_lesson(self) -> None:
        self._get("/", "portal")
        entry = self._pick()
        if entry is None:
            return
        self._get(f"/lesson/{entry['id']}", "player page")
        lesson = self._json(entry["lesson"], "lesson document")
        if lesson is None:
            return
        self._tell("view", entry["id"])
        self._get(f"/v1/counts/resources/{entry['id']}", "counts")
        self._get(lesson["master"], "master playlist")
        names = [rendition["name"] for rendition in lesson["renditions"]]
        wanted = choose_rendition(names, self.dice)
        tracks = self._tracks(next(one["master"] for one in lesson["renditions"] if one["name"] == wanted))
        if tracks:
            self._play(entry["id"], timetable(tracks, self.dice.uniform(SHORTEST_STAY_S, LONGEST_STAY_S)))

    def _pick(self) -> dict[str, Any] | None:
        """Any lesson of the catalog, its poster seen; None when there is none."""
        version = self._json("/catalog/version.json", "version document")
        shards = [shard["path"] for section in (version or {}).get("sections", []) for shard in section["shards"]]
        shard = self._json(self.dice.choice(shards), "shard") if shards else None
        if not shard or not shard["entries"]:
            return None
        entry: dict[str, Any] = self.dice.choice(shard["entries"])
        self._get(entry["poster"], "poster")
        return entry

    def _tracks(self, master_path: str) -> list[list[Segment]]:
        """The segments of the picture and the sound; initialisation sections are fetched. Empty when one is missing."""
        tracks = []
        try:
            for path in variant_paths(self._get(master_path, "rendition master").decode(), master_path):
                initial, found = segments(self._get(path, "media playlist").decode(), path)
                for section in initial:
                    self._get(section, "initialisation section")
                tracks.append(found)
        except PlaylistError as error:
            self._fail("playlist", error)
            return []
        return tracks

    def _play(self, resource: str, steps: list[Step]) -> None:
        """Follow the timetable; a late segment delays what comes after it, as the picture stands still so long."""
        began, told_s = time.monotonic(), 0
        for step in steps:
            if closing.wait(max(0.0, began + step.at_s - time.monotonic())):
                rest_s = min(round(time.monotonic() - began), round(steps[-1].at_s)) - told_s
                if rest_s > 0:
                    self._tell("watch", resource, rest_s)
                return
            if step.kind:
                self._tell(step.kind, resource, step.watched_s)
                told_s += step.watched_s
            else:
                self._get(step.path, "segment")
                began += self._stuck_s(step, began)

    def _stuck_s(self, step: Step, began: float) -> float:
        """How long the picture stood still for a segment, which is a failure; the first one is not waited for."""
        late_s = time.monotonic() - began - step.needed_s
        if late_s <= 0 or step.needed_s == 0:
            return 0.0
        self._fail("picture", TimeoutError("stuck: a segment came too late"), late_s)
        return late_s

    def _get(self, path: str, name: str) -> bytes:
        """The body, empty when it could not be had (counted as a failure)."""
        with self.client.get(path, name=name, catch_response=True, timeout=REQUEST_WITHIN_S) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code} instead of 200")
                return b""
            if not response.content:
                response.failure("an empty body")
            body: bytes = response.content
            return body

    def _json(self, path: str, name: str) -> dict[str, Any] | None:
        """A JSON document, or None when it could not be had (counted as a failure by locust)."""
        response = self.client.get(path, name=name, timeout=REQUEST_WITHIN_S)
        return response.json() if response.status_code == 200 else None

    def _tell(self, kind: str, resource: str = "", watched_s: int = 0) -> None:
        """Send one view event."""
        document = event(kind, uuid.uuid4().hex, int(time.time() * 1000), self.viewer, resource, watched_s)
        with self.client.post(
            "/v1/views", json=document, name=f"{kind} event", catch_response=True, timeout=REQUEST_WITHIN_S
        ) as response:
            if response.status_code != 202:
                response.failure(f"{response.status_code} instead of 202")
            elif response.json()["accepted"] != 1:
                response.failure(f"not accepted: {response.text}")

    def _fail(self, name: str, error: Exception, after_s: float = 0.0) -> None:
        """Count a failure that is none of a single request."""
        self.environment.events.request.fire(
            request_type="PLAY",
            name=name,
            response_time=after_s * 1000,
            response_length=0,
            exception=error,
            context=self.context(),
        )
