"""How fast zoo is, beside what it stands on and beside others: `python -m benchmarks`."""

import os

# As `zoo train` does; OpenMP reads it when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
