"""What there is to watch, for Prometheus. No label holds anything that a client chose."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RUN = (1, 2, 3, 4, 6, 8, 12, 16)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.build = Info("realgrain_build", "What runs: version, bundle by hash, runtime.", registry=registry)
        self.free = Gauge("realgrain_data_free_bytes", "Room on the disk of the data folder.", registry=registry)
        self.requests = Counter("realgrain_requests", "Requests by route and status.", ("method", "route", "status"), registry=registry)
        self.seconds = Histogram("realgrain_request_seconds", "Time to answer, by route.", ("route",), buckets=SECONDS, registry=registry)
        self.verdicts = Counter("realgrain_verdicts", "Pictures judged, by verdict.", ("label",), registry=registry)
        self.refused = Counter("realgrain_refused_pictures", "Pictures refused, by code.", ("code",), registry=registry)
        self.run = Histogram("realgrain_run_pictures", "Pictures that shared a run of the graph.", buckets=RUN, registry=registry)
        self.lost = Counter("realgrain_lost_workers", "Decoders that were killed or died, by cause.", ("cause",), registry=registry)
        self.line = Gauge("realgrain_decoding_pictures", "Pictures that wait for a decoder or are in one.", registry=registry)
        self.judging = Gauge("realgrain_judging_pictures", "Pictures that are decoded and wait to be judged, or are.", registry=registry)
        self.jobs = Counter("realgrain_ended_jobs", "Jobs that ended.", registry=registry)
        self.waiting = Gauge("realgrain_job_pictures_waiting", "Pictures of jobs that have not ended.", registry=registry)
        self.webhooks = Counter("realgrain_webhooks", "Attempts to deliver webhooks, by outcome.", ("outcome",), registry=registry)

    def text(self) -> bytes:
        """In Prometheus' text form."""
        return generate_latest(self._registry)
