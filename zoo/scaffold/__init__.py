"""A new plugin from templates: its names, and the files of a whole distribution."""

KINDS = ("autoencoder", "gan", "translation", "bare")  # each has a template and words in kinds.toml
