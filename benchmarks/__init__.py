"""Questions about what the library costs and saves, each answered against named rivals in the same run."""
