"""One measure of how far two answers are apart, for right formulas and for wrong ones."""

import numpy as np

# What float64 leaves between two right ways of computing the same thing, and what any wrong formula
# exceeds by far.
SAME, DIFFERENT = 1e-9, 1e-2
# Below this the distance is absolute: zeros have no relative errors.
SMALL = 1e-3


def apart(ours, theirs):
    """``‖ours - theirs‖ / ‖theirs‖``, over an array, a number or a list of arrays."""
    ours, theirs = _listed(ours), _listed(theirs)
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    ours, theirs = (np.concatenate([a.ravel() for a in arrays]) for arrays in (ours, theirs))
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), SMALL))


def _listed(answer):
    answer = answer if isinstance(answer, list | tuple) else [answer]
    return [np.asarray(array, np.float64) for array in answer]
