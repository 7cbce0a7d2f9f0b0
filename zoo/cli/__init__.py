"""The command: one file a verb; each verb imports its stage when it runs."""

from zoo.cli.command import main as main
