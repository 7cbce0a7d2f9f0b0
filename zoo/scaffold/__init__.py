"""A new plugin from templates: its names, and the files of a whole distribution."""

import tomllib
from importlib.resources import files

TEMPLATES = files("zoo.scaffold") / "templates"
KINDS = tomllib.loads(
    (TEMPLATES / "kinds.toml").read_text(encoding="utf-8")
)  # models to start from
