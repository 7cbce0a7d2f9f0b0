"""What `zoo` does, as functions: what the command is a thin layer over."""
