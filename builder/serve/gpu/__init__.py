"""An image for a GPU: what it is for, what this machine has, whether they fit, and what is said where they do not.

Nothing in here is imported in an image for the CPU.
"""
