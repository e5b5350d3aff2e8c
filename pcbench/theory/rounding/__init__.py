"""How far rounding may carry an honest implementation: where the tolerances come from (§4)."""
