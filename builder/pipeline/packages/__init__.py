"""Images as packages: looked at, compared, listed, tagged, moved and removed, in a registry or a layout."""
