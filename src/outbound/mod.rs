//! What goes out: an event rendered, signed and addressed. Pure; the network is `dispatch`'s.

pub mod drin;
pub mod request;
pub mod sign;
