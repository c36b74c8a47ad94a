"""A Helm chart made of the documents that ``mbuild deploy kubernetes`` writes, with values in the place of choices."""
