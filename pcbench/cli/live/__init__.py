"""Progress on standard error: of a run and of an audit, on a terminal and in a log."""
