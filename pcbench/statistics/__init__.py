"""From training losses to escape times, and from escape times to intervals."""

from pcbench.statistics.escape import Times, escape_times
from pcbench.statistics.intervals import Interval, median_interval
from pcbench.statistics.ratios import log_ratio_bounds, paired_ratio, ratio_interval

__all__ = [
    "Interval",
    "Times",
    "escape_times",
    "log_ratio_bounds",
    "median_interval",
    "paired_ratio",
    "ratio_interval",
]
