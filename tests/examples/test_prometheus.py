"""Run examples/prometheus.py against the text that Prometheus's own library writes and reads."""

from __future__ import annotations

import pytest

from kling_async.stats import Stats
from tests.support import clip, pair

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from examples.prometheus import COUNTERS, GAUGES, ClientCollector

pytestmark = pytest.mark.anyio


def scraped(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Return the numbers of a scrape by name and labels, as the library's own parser reads them."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


async def test_each_scrape_shows_the_numbers_of_its_moment() -> None:
    """What a scrape reads is what ``client.stats()`` says, now and a task later."""
    registry = CollectorRegistry()
    async with pair({"video": 1}, seconds=30, client={"limits": {"video": 1}}) as (_, client):
        registry.register(ClientCollector(client))
        running, _waiting = await client.submit(clip()), await client.enqueue(clip())
        for _ in range(2):
            samples = scraped(registry)
            stats = client.stats()
            for name in COUNTERS:
                assert samples[f"kling_{name}_total",] == getattr(stats, name)
            for name in GAUGES:
                assert samples[f"kling_{name}",] == pytest.approx(getattr(stats, name), abs=1)
            assert samples["kling_requests_total", "create"] == stats.requests["create"]
            assert samples["kling_pool_held", "video"] == stats.pools["video"].held == 1
            await running.wait()
        assert scraped(registry)["kling_succeeded_total",] == 1


def test_every_number_is_shown() -> None:
    """Each plain count of `Stats` is in one of the two tables, so that a new one is not forgotten."""
    others = {
        "left",
        "requests",
        "callbacks",
        "holds",
        "pools",
        "models",
        "waited",
        "waited_max",
        "units_spent",
        "units_reserved",
        "units_estimated",
    }
    assert {*COUNTERS, *GAUGES, *others} == set(Stats.__struct_fields__)
