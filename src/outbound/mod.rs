//! What goes out: an event rendered, signed and addressed. Pure; the network is `dispatch`'s.

pub mod format;
pub mod request;
pub mod sign;
