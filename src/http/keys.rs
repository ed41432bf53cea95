//! `/v1/keys`: the API keys, and when each was last used. That is noted here, to the minute, and brought to the store in the
//! background.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::authorize;
use super::lists::List;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::{AccessKey, Scope};
use crate::store::{Page, Result};

/// When keys were used, to the minute.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    latest: BTreeMap<String, Timestamp>,
    /// What the store has yet to be given of it.
    new: BTreeMap<String, Timestamp>,
}

impl Uses {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a key is used.
    pub(super) fn note(&self, key: &AccessKey, now: Timestamp) {
        let minute = Timestamp::from_second(now.as_second() / 60 * 60).unwrap_or(now);
        let mut noted = self.lock();
        if noted.latest.get(key.name()) != Some(&minute) {
            noted.latest.insert(key.name().to_owned(), minute);
            noted.new.insert(key.name().to_owned(), minute);
        }
    }
}

/// Brings what was noted to the store.
pub(super) async fn add(gateway: &Gateway) -> Result<()> {
    let uses = &gateway.access.uses;
    let new = std::mem::take(&mut uses.lock().new);
    if new.is_empty() {
        return Ok(());
    }
    let added = gateway.store.note_uses(&new).await;
    if added.is_err() {
        let mut noted = uses.lock();
        for (name, at) in new {
            noted.new.entry(name).or_insert(at);
        }
    }
    added
}

/// A key as the API shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(super) struct KeyView {
    name: String,
    scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
}

/// `GET /v1/keys`: the keys of the config, in its order, with a key of scope `admin`. `last_used_at` is told to the minute,
/// over all gateways, and by the name of the key: one that takes the place of another under its name has its time.
pub(super) async fn keys(
    request: HttpRequest,
    gateway: Data<Gateway>,
) -> std::result::Result<Json<List<KeyView>>, Problem> {
    authorize(&request, &gateway, Scope::Admin)?;
    let keys = &gateway.access.keys;
    let stored = gateway.store.uses(keys.iter().map(|key| key.name().to_owned()).collect()).await?;
    let noted = gateway.access.uses.lock();
    let view = |(key, stored): (&AccessKey, Option<Timestamp>)| KeyView {
        name: key.name().to_owned(),
        scopes: key.scopes().to_vec(),
        last_used_at: stored.max(noted.latest.get(key.name()).copied()),
    };
    let items = keys.iter().zip(stored).map(view).collect();
    Ok(Json(Page { items, next: None }.into()))
}
