"""Where rows come from: files, compressed or not, databases, paths with a date in them."""
