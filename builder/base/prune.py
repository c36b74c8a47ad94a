"""The rule table of ``image.yaml``; the rules themselves are shared with the wheels (see ``builder.plan.prune``)."""

from builder.plan.prune import PruneRules, glob_pattern

__all__ = ["PruneRules", "glob_pattern"]
