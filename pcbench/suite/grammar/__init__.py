"""What a suite may say: its keys, the parameters of its cases, and their JSON Schema."""
