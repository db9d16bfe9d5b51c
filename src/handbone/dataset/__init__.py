"""Reading the competition's files: folders, people, annotations, samples for the cache, folds."""
