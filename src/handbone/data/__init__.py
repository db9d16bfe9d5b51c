"""The data set: folders, polygons, masks, cache, folds, augmentation."""
