//! The content of received mail that a provider keeps, and its webhook only names: what to ask its API for, and what the
//! answers say. Who asks, and when, is not decided here.

use crate::{Content, Part};

/// The API that content is fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its address, without a slash at its end.
    pub url: &'static str,
    /// How it is shown the key.
    pub auth: Auth,
}

/// How a provider's API is shown a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `Authorization: Basic`, the key as the password of this user.
    Basic(&'static str),
}

/// One GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Its URL.
    pub url: String,
    /// Whether the key is shown: never to an address that is not the API's own.
    pub with_key: bool,
    /// `Accept`.
    pub accept: &'static str,
    /// What its answer is.
    pub gives: Gives,
}

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// What the provider knows of the mail; [`Provider::fetched`](crate::Provider::fetched) reads it. Where that leads to
    /// the mail as it was sent ([`Part::Raw`]), this comes last of it.
    Mail,
    /// What it knows of the attachments; likewise.
    Attachments {
        /// The provider's id of the mail.
        mail: String,
        /// Those of its attachments, in the order of [`crate::event::Attachment::n`].
        ids: Vec<String>,
    },
    /// The part itself, byte for byte.
    Part {
        /// Which one.
        part: Part,
        /// Its media type.
        content_type: String,
        /// Its file name.
        filename: Option<String>,
    },
}

/// What an answer held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A part of the mail.
    Part(Part, Content),
    /// That more is to be had.
    Next(Fetch),
}
