"""A root filesystem from Debian packages, without root, apt or maintainer scripts."""
