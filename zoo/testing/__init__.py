"""What a plugin promises, as checks: by `zoo plugins check`, or in the plugin's own tests."""

from zoo.testing.conformance import conformance as conformance
