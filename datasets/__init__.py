"""Scripts that draw, download and prepare data sets; a package, so that no installed one takes its place."""
