"""Generated, bundled, local and remote data."""
