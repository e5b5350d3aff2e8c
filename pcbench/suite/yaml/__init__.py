"""Suite files as written: values with their places, and mistakes as sentences."""
