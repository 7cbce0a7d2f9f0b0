"""A new plugin from templates: its names, and the files of a whole distribution."""
