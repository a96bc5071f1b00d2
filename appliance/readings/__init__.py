"""Readings of host, classes and machines over time, in a file of their own beside the catalog. See README.md."""

from appliance.readings.figures import FIGURES, HOST, METRICS_EACH, Kind, Subject, is_metric, plausible
from appliance.readings.store import Damaged, Series, Store

__all__ = ["FIGURES", "HOST", "METRICS_EACH", "Damaged", "Kind", "Series", "Store", "Subject", "is_metric", "plausible"]
