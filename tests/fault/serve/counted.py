"""What the metrics of a server say was inferred."""

from service.metrics import Metrics


def inferred(metrics: Metrics, rung: str) -> tuple[float, float]:
    """Batches and rows that `rung` has run."""
    found = {
        sample.name.rpartition("_")[2]: sample.value
        for sample in metrics.batch_size.family().samples
        if sample.labels.get("rung") == rung and "le" not in sample.labels
    }
    return found.get("count", 0.0), found.get("sum", 0.0)
