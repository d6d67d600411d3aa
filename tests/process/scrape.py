"""What Prometheus would read."""

from prometheus_client.parser import text_string_to_metric_families

from tests.support import web
from tests.support.service import Service

Sample = tuple[str, tuple[tuple[str, str], ...]]


class Scraped:
    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples: dict[Sample, float] = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def sum(self, name: str, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(
            value for (found, has), value in self.samples.items() if found == name and wanted <= set(has)
        )

    def counters(self) -> dict[Sample, float]:
        """Everything that may only grow."""
        growing = {family.name for family in self.families if family.type in ("counter", "histogram")}
        endings = ("_total", "_bucket", "_count", "_sum")
        return {
            sample: value
            for sample, value in self.samples.items()
            if any(sample[0] == name + ending for name in growing for ending in endings)
        }


def scrape(service: Service) -> Scraped:
    answer = web.get(f"{service.ops_url}/metrics")
    assert answer.status_code == 200, f"{answer.text}\n{service.log()}"
    return Scraped(answer.text)


def fallen(before: Scraped, after: Scraped) -> dict[Sample, tuple[float, float | None]]:
    """The counters that went backwards, or away."""
    now = after.counters()
    return {
        sample: (value, now.get(sample))
        for sample, value in before.counters().items()
        if now.get(sample, -1.0) < value
    }
