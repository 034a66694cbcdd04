"""One YAML file, read whole: frozen types, all problems at once, and the JSON Schema editors use."""
