//! Made-up shoe photos.
