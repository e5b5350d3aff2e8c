"""Samples whose medians are known, and how often intervals hold them."""

import math

import numpy as np

from pcbench.statistics import Times, median_rank

SAMPLES = 20_000

# Name: how to draw, and the median. Light and heavy tails, symmetric and skewed.
DISTRIBUTIONS = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0),
    "uniform": (lambda rng, size: rng.random(size), 0.5),
    "Cauchy": (lambda rng, size: rng.standard_cauchy(size), 0.0),
    "exponential": (lambda rng, size: rng.exponential(size=size), math.log(2)),
    "lognormal": (lambda rng, size: rng.lognormal(size=size), 1.0),
}


def clumped(rng, size):
    """Draw from two clumps on either side of 0, with nothing near it."""
    return rng.choice([-1.0, 1.0], size) * rng.uniform(1, 1.1, size)


def ends_of(lower, upper):
    """Return the ends of the intervals of many samples at once, one a row."""
    rank, _ = median_rank(lower.shape[-1], 0.95)
    return np.sort(lower)[..., rank - 1], np.sort(upper)[..., -rank]


def standard_errors(share, samples, count=4):
    """Return ``count`` binomial standard errors: 4 are exceeded once in 16,000 seeds."""
    return count * math.sqrt(share * (1 - share) / samples)


def seen(*times):
    """Times that were all observed."""
    return Times(np.array(times, dtype=float), np.ones(len(times), dtype=bool))


def cut(times, limit):
    """What is seen of times by runs of a length."""
    return Times(np.minimum(times, limit).astype(float), times <= limit)


# Name: the noise of a pair's log ratio, of median 0.
LOG_RATIOS = {
    "lognormal": lambda rng, size: 0.5 * rng.standard_normal(size),
    "heavy-tailed": lambda rng, size: 0.2 * rng.standard_cauchy(size),
    "skewed": lambda rng, size: 0.7 * (rng.exponential(size=size) - math.log(2)),
}


def pairs(rng, noise, size, ratio=1.0):
    """Draw times of pairs, in whole steps, that share most of their luck."""
    shared = np.exp(rng.normal(math.log(2000), 0.6, size))
    log_ratio = math.log(ratio) + LOG_RATIOS[noise](rng, size)
    share = rng.random(size)  # of the ratio, for the numerator: neither learner is the steady one
    numerator = shared * np.exp(np.clip(share * log_ratio, -30, 30))
    denominator = shared * np.exp(np.clip((share - 1) * log_ratio, -30, 30))
    return np.ceil(numerator), np.ceil(denominator)
