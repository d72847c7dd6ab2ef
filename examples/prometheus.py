"""Show a client's numbers to Prometheus: they are read from ``client.stats()`` whenever it scrapes.

    REGISTRY.register(ClientCollector(client))
    start_http_server(9000)  # or serve generate_latest() from the web framework at hand

Needs ``pip install prometheus-client``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from kling_async import Client

COUNTERS: Final = (
    *("submitted", "admitted", "refused", "requeued", "created", "adopted", "succeeded", "failed", "gone"),
    *("changed", "slot_expired", "held", "downloaded", "downloaded_bytes", "asked", "retried"),
    *("unanswered", "bytes_sent", "bytes_received"),
)
GAUGES: Final = ("queued", "oldest_wait", "in_flight", "running", "unresolved")


class ClientCollector(Collector):
    """The numbers of one client; `kling_async.Stats` says what each means."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers of this moment."""
        stats = self._client.stats()
        for name in COUNTERS:
            yield CounterMetricFamily(f"kling_{name}", f"Stats.{name}", value=getattr(stats, name))
        for name in GAUGES:
            yield GaugeMetricFamily(f"kling_{name}", f"Stats.{name}", value=getattr(stats, name))
        for name, label in (("left", "error"), ("requests", "purpose"), ("callbacks", "outcome")):
            counts = getattr(stats, name)
            family = CounterMetricFamily(f"kling_{name}", f"Stats.{name}", labels=[label])
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family
        yield CounterMetricFamily("kling_waited_seconds", "Stats.waited", value=stats.waited)
        for name in ("limit", "held", "queued"):
            gauge = GaugeMetricFamily(f"kling_pool_{name}", f"PoolState.{name}", labels=["pool"])
            for pool, state in stats.pools.items():
                gauge.add_metric([pool], getattr(state, name))
            yield gauge
