"""Parses metrics as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """A parsed answer of /metrics."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.types = {family.name: family.type for family in families}
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self.samples}

    @property
    def label_values(self) -> set[str]:
        """The values of all labels."""
        return {value for _, labels in self.samples for _, value in labels}

    def labels_of(self, sample: str) -> list[dict[str, str]]:
        """Return the labels of each sample of this whole name."""
        return [dict(labels) for name, labels in self.samples if name == sample]

    def value(self, name: str, **labels: str) -> float:
        """Return a sample's value; 0 if there is none, as for Prometheus' `increase`."""
        return self.samples.get((f"account_service_{name}", frozenset(labels.items())), 0)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples that have at least these labels."""
        return sum(
            value
            for (found, has), value in self.samples.items()
            if found == f"account_service_{name}" and has >= labels.items()
        )
