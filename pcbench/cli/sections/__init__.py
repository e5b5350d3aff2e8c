"""What the commands that explain print: kinds, machine and backends, section by section."""
