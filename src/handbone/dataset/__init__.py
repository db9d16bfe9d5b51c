"""The competition's files coming in: folders, people, annotations, samples for the cache, folds."""
