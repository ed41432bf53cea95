//! One process, a directory on disk, every commit synced before it is acknowledged.
