"""The command: one file a verb; each verb imports its stage when it runs."""

try:
    from zoo.cli.command import main as main
except KeyboardInterrupt:  # Ctrl-C in the first moment
    raise SystemExit(130) from None
