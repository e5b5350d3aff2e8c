"""The output of show, doctor and backends, section by section."""
