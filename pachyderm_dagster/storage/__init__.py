"""Objects, packs, chunks and trees; has never heard of a repo."""
