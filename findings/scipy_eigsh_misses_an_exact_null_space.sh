#!/usr/bin/env bash
# SciPy 1.17.1 (with NumPy 2.4.6), scipy.sparse.linalg.eigsh.
#
# The likely guess: eigsh(A, k=1, which="SA") returns the least eigenvalue of a symmetric matrix, at
# any tolerance; of a matrix of zeros it returns 0.
# What it does: ARPACK multiplies the starting vector by the matrix first, and what lies in an exact
# null space is gone after that. Of a diagonal of ten zeros and 390 numbers from 1 to 10 the least
# eigenvalue is 0; eigsh returns 1, without a warning, whatever the tolerance. A matrix of zeros
# is an error: "Starting vector is zero".
#
# Output seen:
#   tol 1e-02: 1.000002, tol 1e-08: 1.000000, tol 0e+00: 1.000000
#   dense: 0.0
#   of zeros: ARPACK error -9: Starting vector is zero.
#
# Exits 0 while it is so, 1 when that has changed, 2 if the packages cannot be installed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{ python3 -m venv "$place/env" && "$place/env/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6; } || exit 2
cd "$place"
"$place/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
from scipy.sparse.linalg import ArpackError, eigsh

matrix = np.diag(np.r_[np.zeros(10), np.linspace(1, 10, 390)])
start = np.random.default_rng(0).standard_normal(len(matrix))
found = {
    tolerance: eigsh(
        matrix, k=1, which="SA", tol=tolerance, v0=start, ncv=60, return_eigenvectors=False
    )[0]
    for tolerance in (1e-2, 1e-8, 0)
}
print(", ".join(f"tol {tolerance:.0e}: {value:.6f}" for tolerance, value in found.items()))
print("dense:", np.linalg.eigvalsh(matrix)[0])
try:
    eigsh(np.zeros_like(matrix), k=1, v0=start)
    refused = False
except ArpackError as error:
    print("of zeros:", error)
    refused = True
missed = found[1e-2] > 0.9 and found[1e-8] > 0.9
sys.exit(0 if missed and refused else 1)
PYTHON
