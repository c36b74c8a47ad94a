"""The pipeline: the stages in order for one target. ``build.py`` reads as its table of contents."""
