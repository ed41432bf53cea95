//! Recorded requests that are part of the program: what `waypost send` knows by name, and the demo posts.

/// Some of the recorded requests of a provider, and the source that they are proven at.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    /// Its `source.toml` (see `fixtures/README.md`).
    pub source: &'static str,
    /// Names and requests.
    pub(crate) cases: &'static [(&'static str, &'static [u8])],
}

impl Samples {
    /// The names of the cases, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.cases.iter().map(|(name, _)| *name)
    }

    /// The body of a case.
    pub fn body(&self, name: &str) -> Option<&'static [u8]> {
        let (_, request) = self.cases.iter().find(|(known, _)| *known == name)?;
        let end = request.windows(4).position(|window| window == b"\r\n\r\n")?;
        Some(&request[end + 4..])
    }
}

/// These cases of `fixtures/FOLDER`.
macro_rules! samples {
    ($folder:literal: $($case:literal),* $(,)?) => {
        $crate::Samples {
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/", $folder, "/source.toml")),
            cases: &[$((
                $case,
                include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/", $folder, "/", $case, ".http")),
            )),*],
        }
    };
}
pub(crate) use samples;
