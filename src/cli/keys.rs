//! `ticketwire keys`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Context, Failed, failed, output};
use crate::secrets::{
    self, Binding, KeyRing, LegacyKey, OpenedBy, SEALED_MEMBER, as_python_writes,
};
use crate::store::seals::{self, Resealed, SealedColumn, SealedValue};
use crate::store::{Client, StoreError, connect};

/// Values of one transaction: a worker that wants one of their rows waits for no longer than that.
const BATCH: i64 = 200;
/// How often values that a worker held or changed meanwhile are looked at again.
const PASSES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// Unreadable values that are named; JSON has them all.
const NAMED_MAX: usize = 20;

/// Keys that seal credentials.
#[derive(Args)]
#[command(after_help = "Example:
  export TICKETWIRE__SECRETS__KEYS=$(ticketwire keys generate)")]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a new key for secrets.keys
    Generate {
        /// Its name in sealed values; by default the day and a few random digits
        #[arg(long)]
        id: Option<String>,
    },
    /// Seal everything anew under the first key
    Rotate(Rotate),
}

/// Seal everything anew under the first key: credentials and webhook secrets, also those that the
/// legacy application sealed, access tokens, and the secrets of commands that may still run.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire keys rotate --dry-run              which keys are in use, and what cannot be read
  ticketwire keys rotate
  ticketwire keys rotate --to-legacy jwt-secret

Workers may run meanwhile, if they were started with the new key. It may be interrupted and run
again. What cannot be read is left as it is and named, and the exit status is 1.")]
struct Rotate {
    /// Say what would be done
    #[arg(long)]
    dry_run: bool,
    /// The way back: write the credentials and webhook secrets of integrations as the legacy
    /// application does, under its own key; which one, where both are configured
    #[arg(long, value_enum, value_name = "KEY", num_args = 0..=1,
        default_missing_value = "configured")]
    to_legacy: Option<LegacyTarget>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LegacyTarget {
    /// secrets.legacy_encryption_key
    EncryptionKey,
    /// secrets.legacy_jwt_secret
    JwtSecret,
    /// Whichever of the two is configured
    Configured,
}

impl Keys {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        match self.action {
            Action::Generate { id } => {
                // Two keys of one ring must not share a name, and people rotate without thinking of
                // one.
                let today = Utc::now().format("%Y%m%d");
                let id = id.unwrap_or_else(|| format!("k{today}-{:04x}", rand::random::<u16>()));
                let key = secrets::generate(&id);
                KeyRing::parse(&[key.clone().into()]).map_err(Failed::Usage)?;
                if context.json {
                    Ok(output::json(&json!({ "key": key }))?)
                } else {
                    Ok(output::line(&key)?)
                }
            }
            Action::Rotate(rotate) => rotate.execute(context).await,
        }
    }
}

impl Rotate {
    async fn execute(&self, context: &Context) -> Result<(), Failed> {
        let ring = context.ring()?;
        let target = self.target(&ring)?;
        let (client, _driver) = connect(&context.config.database.url, "ticketwire keys")
            .await
            .map_err(failed)?;
        crate::store::migrate::check_version(&client)
            .await
            .map_err(failed)?;
        let total = seals::count_sealed(&client).await.map_err(failed)?;
        let mut rotation = Rotation {
            ring: &ring,
            target: &target,
            dry_run: self.dry_run,
            survey: Survey::default(),
            resealed: 0,
            // Draws nothing where stderr is no terminal.
            bar: if context.json {
                ProgressBar::hidden()
            } else {
                ProgressBar::new(total)
            },
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left") {
            rotation.bar.set_style(style);
        }
        let skipped = rotation.run(&client).await.map_err(failed)?;
        rotation.bar.finish_and_clear();
        rotation.report(context, skipped)
    }

    fn target(&self, ring: &KeyRing) -> Result<OpenedBy, Failed> {
        let Some(wanted) = self.to_legacy else {
            let first = ring.sealing_key().map(str::to_owned);
            return first.map(OpenedBy::Key).ok_or_else(|| {
                let text = "secrets.keys is empty; `ticketwire keys generate` makes a key";
                Failed::Usage(text.into())
            });
        };
        let configured: Vec<LegacyKey> = ring.legacy_keys().collect();
        let wanted = match (wanted, configured.as_slice()) {
            (LegacyTarget::EncryptionKey, _) => LegacyKey::EncryptionKey,
            (LegacyTarget::JwtSecret, _) => LegacyKey::JwtSecret,
            (LegacyTarget::Configured, [only]) => *only,
            (LegacyTarget::Configured, _) => {
                let text = "--to-legacy writes under the one key that the legacy application \
                            will have: name it (encryption-key or jwt-secret) and configure \
                            secrets.legacy_encryption_key or secrets.legacy_jwt_secret. With \
                            ENCRYPTION_KEY set, it reads nothing of the other";
                return Err(Failed::Usage(text.into()));
            }
        };
        if !configured.contains(&wanted) {
            return Err(Failed::Usage(format!(
                "{wanted} is not configured, so nothing can be sealed under it"
            )));
        }
        Ok(OpenedBy::Legacy(wanted))
    }
}

/// Which keys opened what, and what none opens.
#[derive(Default)]
pub(super) struct Survey {
    /// Values by the key that opens them.
    pub(super) opened: BTreeMap<OpenedBy, u64>,
    /// What none of the keys opens, by where it stands.
    pub(super) unreadable: BTreeMap<(SealedColumn, uuid::Uuid), Unreadable>,
    /// There were too many commands to look at all in a short time.
    pub(super) left_out_commands: bool,
}

/// A value that cannot be read.
pub(super) struct Unreadable {
    pub(super) integration: String,
    pub(super) name: String,
    pub(super) is_deleted: bool,
    /// The id of the key it was sealed with, where it says so.
    pub(super) sealed_with: Option<String>,
    column: &'static str,
    command: Option<uuid::Uuid>,
    error: String,
}

impl Unreadable {
    fn as_json(&self) -> Value {
        let mut json = json!({
            "integration_id": self.integration, "column": self.column, "error": self.error,
        });
        if let Some(command) = self.command {
            json["command_id"] = json!(command);
        }
        json
    }
}

impl Survey {
    /// Opens every sealed value there is. Those in commands are looked for in the whole table, for
    /// as long as a statement of this connection may take.
    pub(super) async fn take(client: &Client, ring: &KeyRing) -> Result<Self, StoreError> {
        let mut survey = Self::default();
        for column in SealedColumn::ALL {
            let mut after = None;
            loop {
                let page = match seals::sealed_values(client, column, after, BATCH).await {
                    Err(StoreError::Unavailable(_)) if column == SealedColumn::CommandData => {
                        survey.left_out_commands = true;
                        break;
                    }
                    page => page?,
                };
                for value in &page {
                    survey.open_all(ring, value);
                }
                match page.last() {
                    Some(last) => after = Some(last.row),
                    None => break,
                }
            }
        }
        Ok(survey)
    }

    /// Opens what is sealed in a value: each part's text, its plain bytes and the key that opened
    /// it.
    fn open_all(&mut self, ring: &KeyRing, value: &SealedValue) -> Vec<Part> {
        let mut parts = Vec::new();
        for (column, sealed) in sealed_parts(value) {
            let binding = Binding {
                organization: value.organization,
                integration: value.integration,
                column,
            };
            let opened = match ring.open_and_tell(&binding, &sealed) {
                Ok((plain, by)) if holds_json(value.column) && !is_json(&plain) => {
                    Err(format!("{by} opens it, but what is in it is no JSON"))
                }
                other => other.map_err(|error| error.to_string()),
            };
            match opened {
                Ok((plain, by)) => {
                    *self.opened.entry(by.clone()).or_default() += 1;
                    parts.push(Part {
                        binding,
                        sealed,
                        plain,
                        by,
                    });
                }
                Err(error) => {
                    let unreadable = Unreadable {
                        integration: value.integration.to_string(),
                        name: value.name.clone(),
                        is_deleted: value.is_deleted,
                        sealed_with: KeyRing::key_of(&sealed).map(str::to_owned),
                        column: match value.column {
                            SealedColumn::CommandData => column,
                            known => known.name(),
                        },
                        command: (value.column == SealedColumn::CommandData).then_some(value.row),
                        error,
                    };
                    self.unreadable
                        .insert((value.column, value.row), unreadable);
                }
            }
        }
        parts
    }
}

/// One sealed text, opened.
struct Part {
    binding: Binding,
    sealed: String,
    plain: Vec<u8>,
    by: OpenedBy,
}

/// The sealed texts of a value, with the column they are bound to: itself, or the members of a
/// command's data.
fn sealed_parts(value: &SealedValue) -> Vec<(&'static str, String)> {
    if value.column != SealedColumn::CommandData {
        return vec![(value.column.bound_to(), value.stored.clone())];
    }
    let data: Map<String, Value> = serde_json::from_str(&value.stored).unwrap_or_default();
    let credentials = data.get("credentials").and_then(|c| c.get(SEALED_MEMBER));
    let members = [
        ("credentials_encrypted", credentials),
        ("webhook_secret_encrypted", data.get("webhook_secret")),
    ];
    members
        .into_iter()
        .filter_map(|(column, member)| Some((column, member?.as_str()?.to_owned())))
        .filter(|(_, sealed)| KeyRing::key_of(sealed).is_some())
        .collect()
}

/// Tokens are bare texts.
const fn holds_json(column: SealedColumn) -> bool {
    match column {
        SealedColumn::Credentials
        | SealedColumn::WebhookSecret
        | SealedColumn::PreviousWebhookSecret
        | SealedColumn::HookSecret
        | SealedColumn::PreviousHookSecret
        | SealedColumn::CommandData => true,
        SealedColumn::AccessToken | SealedColumn::RefreshToken => false,
    }
}

/// Looks at the syntax alone, so that nothing which the legacy application reads is called
/// unreadable.
fn is_json(plain: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(plain).is_ok()
}

/// One run of `keys rotate`.
struct Rotation<'a> {
    ring: &'a KeyRing,
    target: &'a OpenedBy,
    dry_run: bool,
    survey: Survey,
    resealed: u64,
    bar: ProgressBar,
}

impl Rotation<'_> {
    /// Seals everything that is not under the target key; how many values had to be left as
    /// somebody changed them again and again.
    async fn run(&mut self, client: &Client) -> Result<u64, StoreError> {
        let mut left = 0;
        for column in SealedColumn::ALL {
            // The rest is ours alone: the legacy application has no use for it.
            let is_legacys = matches!(
                column,
                SealedColumn::Credentials | SealedColumn::WebhookSecret
            );
            if matches!(self.target, OpenedBy::Legacy(_)) && !is_legacys {
                continue;
            }
            let mut seen = BTreeSet::new();
            let mut skipped = self.pass(client, column, &mut seen).await?;
            for _ in 1..PASSES {
                if skipped == 0 {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
                skipped = self.pass(client, column, &mut seen).await?;
            }
            left += skipped;
        }
        Ok(left)
    }

    async fn pass(
        &mut self,
        client: &Client,
        column: SealedColumn,
        seen: &mut BTreeSet<uuid::Uuid>,
    ) -> Result<u64, StoreError> {
        let (mut after, mut skipped) = (None, 0);
        loop {
            let page = seals::sealed_values(client, column, after, BATCH).await?;
            let Some(last) = page.last() else {
                return Ok(skipped);
            };
            after = Some(last.row);
            let mut changes = Vec::new();
            for value in &page {
                if seen.insert(value.row) {
                    changes.extend(self.reseal(value));
                    self.bar.inc(1);
                } else {
                    // A second look at it: it is counted already.
                    let counted = std::mem::take(&mut self.survey);
                    changes.extend(self.reseal(value));
                    self.survey = counted;
                }
            }
            let wanted: u64 = changes.iter().map(|change| change.texts).sum();
            let mut done = wanted;
            if !self.dry_run && !changes.is_empty() {
                let replaced = seals::replace_sealed(client, column, &changes).await?;
                done = changes
                    .iter()
                    .filter(|change| replaced.contains(&change.row))
                    .map(|change| change.texts)
                    .sum();
            }
            self.resealed += done;
            skipped += wanted - done;
        }
    }

    /// The value with everything in it sealed under the target key, if that changes it and all of
    /// it can be read.
    fn reseal(&mut self, value: &SealedValue) -> Option<Resealed> {
        let (mut new, mut texts) = (value.stored.clone(), 0);
        for part in self.survey.open_all(self.ring, value) {
            if part.by == *self.target {
                continue;
            }
            let sealed = match self.target {
                // The bytes as they are, whoever wrote them: nothing of a number or an escape is
                // lost.
                OpenedBy::Key(_) => self.ring.seal(&part.binding, &part.plain).ok()?,
                OpenedBy::Legacy(key) => {
                    let json = as_python_writes(&part.plain)?;
                    let seconds = u64::try_from(Utc::now().timestamp()).unwrap_or(0);
                    self.ring.seal_for_legacy(*key, json.as_bytes(), seconds)?
                }
            };
            // Sealed texts need no escape in JSON, so a command's data is otherwise left as it was
            // written.
            new = new.replace(&part.sealed, &sealed);
            texts += 1;
        }
        (new != value.stored).then(|| Resealed {
            row: value.row,
            old: value.stored.clone(),
            new,
            texts,
        })
    }

    fn report(&self, context: &Context, skipped: u64) -> Result<(), Failed> {
        let survey = &self.survey;
        let opened: u64 = survey.opened.values().sum();
        let already = survey.opened.get(self.target).copied().unwrap_or(0);
        let unreadable: Vec<&Unreadable> = survey.unreadable.values().collect();
        if context.json {
            let by: Map<String, Value> = survey
                .opened
                .iter()
                .map(|(key, count)| (key.to_string(), json!(count)))
                .collect();
            let unreadable: Vec<Value> = unreadable.iter().map(|value| value.as_json()).collect();
            output::json(&json!({
                "key": self.target.to_string(), "dry_run": self.dry_run, "resealed": self.resealed,
                "already": already, "opened_by": by, "unreadable": unreadable,
                "changed_meanwhile": skipped,
            }))?;
        } else {
            for (key, count) in survey.opened.iter().filter(|(key, _)| *key != self.target) {
                output::line(&format!("{count} of {opened} were sealed under {key}"))?;
            }
            let did = if self.dry_run {
                "would be resealed"
            } else {
                "resealed"
            };
            output::line(&format!(
                "{} {did} under {}, {already} were already",
                self.resealed, self.target
            ))?;
            for value in unreadable.iter().take(NAMED_MAX) {
                output::line(&format!(
                    "unreadable, left as it is: integration {} {}: {}",
                    value.integration, value.column, value.error
                ))?;
            }
            if unreadable.len() > NAMED_MAX {
                output::line(&format!("and {} more", unreadable.len() - NAMED_MAX))?;
            }
        }
        if skipped > 0 {
            return Err(Failed::Operation(format!(
                "{skipped} value(s) were held or changed by somebody again and again; run it again"
            )));
        }
        if unreadable.is_empty() {
            return Ok(());
        }
        Err(Failed::Operation(format!(
            "{} value(s) cannot be read: configure the key that sealed them, or set the \
             credentials anew with `ticketwire integration update`",
            unreadable.len()
        )))
    }
}
