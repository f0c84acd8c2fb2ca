//! Augmentation: new views of training images.
