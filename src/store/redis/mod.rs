//! Any number of gateways on one Redis.
