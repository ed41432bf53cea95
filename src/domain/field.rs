//! What is wrong with one field that somebody gave.

use std::fmt;

/// Names the field, what is wrong with it, and what to do. Never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, such as `headers.x-team`.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl FieldError {
    /// Of its three parts.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Of an error whose text is what is wrong and, after the last `; `, the remedy.
    pub fn told(field: &str, error: &impl std::error::Error) -> Self {
        let text = error.to_string();
        let (problem, remedy) = text.rsplit_once("; ").unwrap_or((&text, "change it"));
        Self::new(field, problem, remedy)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.remedy)
    }
}

/// Holds a number against its bounds.
///
/// # Errors
/// Tells the bounds.
pub fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), FieldError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(FieldError::new(field, format!("{value} is out of range"), format!("use {least} to {most}")))
}

/// What serde says of a value of the wrong shape, without the value: a secret may stand in the wrong place.
pub fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // What is expected comes last, and is never the operator's text.
    match text.rsplit_once(", expected ") {
        Some((given, expected)) if !given.starts_with("unknown field ") => {
            let kind = given.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        _ => text,
    }
}
