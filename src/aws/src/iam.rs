//! The IAM service: the state of all accounts, in memory and on disk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{TimeDelta, Utc};
use nix::fcntl::{Flock, FlockArg};
use parking_lot::RwLock;

use super::authorize::{Decision, authorize, grants_of, policies};
use super::caller::{Caller, CredentialsError, Identity};
use super::client::Client;
use super::credentials::Credentials;
use super::minio::MinioSessions;
use super::policy::{Policy, Purpose, Request};
use super::session::{Session, SessionPrincipal, Signer};
use super::state::{AccountState, Directory};
use super::{Account, AccountId, Fault, Secret, id};
use icebox_base::private_file;

/// The duration of a MinIO session that replaces a user's long-term key.
const REPLACEMENT_DURATION: TimeDelta = TimeDelta::hours(12);

/// The policy of a root user, which allows everything.
const EVERYTHING: &str = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

/// IAM and STS of one or more accounts. Clones share the same state.
#[derive(Clone)]
pub struct Iam(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    accounts: Vec<Account>,
    directory: RwLock<Directory>,
    signer: Signer,
    /// Creates the sessions at MinIO; `None` without MinIO.
    minio: Option<MinioSessions>,
    /// The number of changes since the service was opened.
    version: AtomicU64,
    /// The directory's lock, which is released when the service ends, also by a crash.
    _lock: Flock<File>,
}

/// The reason why the service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use {} for IAM's state: {source}; give a directory that this user may write", path.display())]
    State { path: PathBuf, source: io::Error },
    #[error("another IAM service is using {}; stop it, or give this one a directory of its own", dir.display())]
    InUse { dir: PathBuf },
    #[error("IAM needs at least one account")]
    NoAccount,
    #[error("account {0} or its access key is given twice; accounts and keys must differ")]
    DuplicateAccount(AccountId),
}

/// The result of opening the service.
pub type Result<T> = std::result::Result<T, Error>;

impl Iam {
    /// Opens the state in `dir`, which is created if it does not exist. The first account is the
    /// user's own; whatever is not assigned to another account belongs to it.
    ///
    /// # Errors
    /// [`Error::State`], also if a file there cannot be read; [`Error::InUse`],
    /// [`Error::NoAccount`], [`Error::DuplicateAccount`].
    pub fn open(dir: &Path, accounts: Vec<Account>) -> Result<Self> {
        Self::open_with(dir, accounts, None)
    }

    /// Opens the state in `dir` for use with MinIO. `root` is a client with the keys of MinIO's
    /// root user. Sessions are created at MinIO, which knows nothing else of the state.
    ///
    /// # Errors
    /// The errors of [`Self::open`].
    pub fn with_minio(root: Client, dir: &Path, accounts: Vec<Account>) -> Result<Self> {
        Self::open_with(dir, accounts, Some(MinioSessions::new(root)))
    }

    fn open_with(dir: &Path, accounts: Vec<Account>, minio: Option<MinioSessions>) -> Result<Self> {
        if accounts.is_empty() {
            return Err(Error::NoAccount);
        }
        for (i, account) in accounts.iter().enumerate() {
            let same = |other: &Account| {
                other.id == account.id || other.root_access_key_id == account.root_access_key_id
            };
            if accounts[..i].iter().any(same) {
                return Err(Error::DuplicateAccount(account.id.clone()));
            }
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::State { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed(dir))?;
        let lock = lock(dir)?;
        let mut directory = Directory::new();
        for account in &accounts {
            let path = state_file(dir, &account.id);
            let state = AccountState::load(&path).map_err(failed(&path))?;
            directory.insert(account.id.clone(), state);
        }
        let secret_file = dir.join("session-secret");
        let secret = session_secret(&secret_file).map_err(failed(&secret_file))?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            accounts,
            directory: RwLock::new(directory),
            signer: Signer::new(secret),
            minio,
            version: AtomicU64::default(),
            _lock: lock,
        })))
    }

    /// Returns whether the account's root user may assume any role, as MinIO's can.
    pub(super) fn root_may_assume_any_role(&self, account: &AccountId) -> bool {
        let mut accounts = self.0.accounts.iter();
        accounts.any(|known| known.id == *account && known.root_may_assume_any_role)
    }

    /// Returns the accounts, the user's own first.
    pub fn accounts(&self) -> &[Account] {
        &self.0.accounts
    }

    /// Returns the secret of an access key: a root user's, a user's if it is active, or that of a
    /// session of this service, even if it has expired.
    pub fn secret_of(&self, access_key_id: &str) -> Option<Secret> {
        let root = self.root_of(access_key_id);
        if let Some(account) = root {
            return Some(account.root_secret_access_key.clone());
        }
        let of_user = self.read(|directory| {
            let users = directory.values().flat_map(|state| state.users.values());
            let mut keys = users.flat_map(|user| &user.keys);
            keys.find(|key| key.active && key.id == access_key_id)
                .map(|key| key.secret.clone())
        });
        of_user.or_else(|| self.secret_of_session(access_key_id))
    }

    fn secret_of_session(&self, access_key_id: &str) -> Option<Secret> {
        match &self.0.minio {
            Some(minio) => minio.secret_of(access_key_id),
            None => self.0.signer.secret_of(access_key_id),
        }
    }

    /// Returns the caller that an access key and its session token belong to. The caller of this
    /// function must check that the request was signed with the key's secret.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn caller(
        &self,
        access_key_id: &str,
        token: Option<&str>,
    ) -> std::result::Result<Caller, CredentialsError> {
        let lasting = self
            .root_of(access_key_id)
            .map(|account| (account.id.clone(), Identity::Root))
            .or_else(|| self.user_of(access_key_id));
        match (lasting, token) {
            (Some(_), Some(_)) => Err(CredentialsError::BadToken),
            (Some((account, identity)), None) => Ok(Caller {
                account,
                identity,
                access_key_id: access_key_id.to_owned(),
                session: None,
            }),
            (None, None) => Err(CredentialsError::UnknownKey),
            (None, Some(token)) => self.session_caller(access_key_id, token),
        }
    }

    fn root_of(&self, access_key_id: &str) -> Option<&Account> {
        let mut accounts = self.0.accounts.iter();
        accounts.find(|account| account.root_access_key_id == access_key_id)
    }

    fn user_of(&self, access_key_id: &str) -> Option<(AccountId, Identity)> {
        self.read(|directory| {
            directory.iter().find_map(|(account, state)| {
                let has_key = |user: &&super::state::User| {
                    user.keys.iter().any(|k| k.active && k.id == access_key_id)
                };
                let user = state.users.values().find(has_key)?;
                let identity = Identity::User {
                    name: user.name.clone(),
                    path: user.path.clone(),
                    id: user.id.clone(),
                };
                Some((account.clone(), identity))
            })
        })
    }

    fn session_caller(
        &self,
        access_key_id: &str,
        token: &str,
    ) -> std::result::Result<Caller, CredentialsError> {
        if self.secret_of_session(access_key_id).is_none() {
            return Err(CredentialsError::UnknownKey);
        }
        let session = match &self.0.minio {
            Some(minio) => minio.session(access_key_id, token),
            None => self.0.signer.read(token),
        };
        let session = session.filter(|session| session.key == access_key_id);
        let session = session.ok_or(CredentialsError::BadToken)?;
        if session.expires <= Utc::now() {
            return Err(CredentialsError::Expired);
        }
        // A session ends when its user or role is deleted.
        self.caller_of_session(session)
            .ok_or(CredentialsError::BadToken)
    }

    /// Returns the caller of a session; `None` if its user or role no longer exists.
    fn caller_of_session(&self, session: Session) -> Option<Caller> {
        let identity = self.read(|directory| identity_of(directory, &session))?;
        Some(Caller {
            account: session.account.clone(),
            identity,
            access_key_id: session.key.clone(),
            session: Some(session),
        })
    }

    /// Returns all policies of a caller; none if its user or role no longer exists.
    fn policies_of(&self, caller: &Caller) -> std::result::Result<Vec<Policy>, Fault> {
        if caller.identity == Identity::Root {
            return Ok(vec![Policy::parse(EVERYTHING, Purpose::Identity)?]);
        }
        Ok(self.read(|directory| {
            let grants = grants_of(directory, caller).into_iter();
            let found = grants.flat_map(|grants| policies(directory, &caller.account, grants));
            found.map(|(_, policy)| policy.clone()).collect()
        }))
    }

    /// Creates credentials for a new session. It must be called on a thread of the runtime that may
    /// block.
    ///
    /// # Errors
    /// `ServiceFailure`. With MinIO also the errors of [`MinioSessions::create`].
    pub(super) fn credentials(&self, session: Session) -> std::result::Result<Credentials, Fault> {
        let failed = || Fault::service_failure("The session could not be created.");
        if let Some(minio) = &self.0.minio {
            let caller = self.caller_of_session(session.clone()).ok_or_else(failed)?;
            let version = self.0.version.load(Ordering::Acquire);
            let policies = self.policies_of(&caller)?;
            let created = minio.create(&caller, &policies, &session, version);
            return tokio::runtime::Handle::current().block_on(created);
        }
        let signer = &self.0.signer;
        let token = signer.sign(&session).map_err(|_| failed())?;
        Ok(Credentials {
            secret_access_key: signer.secret_of(&session.key).ok_or_else(failed)?,
            session_token: Some(Secret::from(token)),
            expires: Some(session.expires),
            access_key_id: session.key,
        })
    }

    /// Returns the credentials that a request must be re-signed with for MinIO; `None` if the
    /// request can be forwarded as it is. A request is re-signed if its key is a user's, or that of
    /// a session from before a change of IAM's state.
    ///
    /// # Errors
    /// `InvalidClientTokenId` if the session's user or role no longer exists. Otherwise the errors
    /// of [`Self::credentials`].
    pub(super) async fn replacement_credentials(
        &self,
        access_key_id: &str,
        token: Option<&str>,
    ) -> std::result::Result<Option<Credentials>, Fault> {
        let Some(minio) = &self.0.minio else {
            return Ok(None);
        };
        let version = self.0.version.load(Ordering::Acquire);
        let caller = match self.caller(access_key_id, token) {
            Ok(caller) => caller,
            // The session's user or role may have been deleted, which MinIO does not know.
            Err(CredentialsError::BadToken) if minio.is_outdated(access_key_id, version) => {
                return Err(Fault::invalid_token());
            }
            // MinIO answers with the error.
            Err(_) => return Ok(None),
        };
        let session = match (&caller.identity, &caller.session) {
            (Identity::User { id, .. }, None) => Session {
                key: access_key_id.to_owned(),
                account: caller.account.clone(),
                principal: SessionPrincipal::User { id: id.clone() },
                issued: Utc::now(),
                expires: Utc::now() + REPLACEMENT_DURATION,
                policy: None,
                source_identity: None,
            },
            (_, Some(session)) if minio.is_outdated(access_key_id, version) => session.clone(),
            _ => return Ok(None),
        };
        let policies = self.policies_of(&caller)?;
        let replacement = minio.replacement(access_key_id, &caller, &policies, &session, version);
        replacement.await.map(Some)
    }

    /// Decides whether the caller's own policies allow an action in its account. `context` has
    /// condition keys in lower case; those of the caller are added.
    pub fn authorize(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        mut context: HashMap<String, Vec<String>>,
    ) -> Decision {
        context.extend(caller.context());
        let request = Request {
            action,
            resource,
            context: &context,
        };
        self.read(|directory| authorize(directory, caller, &request))
    }

    /// Returns a new access key id for a session.
    pub(super) fn new_session_key(&self) -> String {
        self.0.signer.new_key()
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Directory) -> T) -> T {
        read(&self.0.directory.read())
    }

    /// Changes one account. `change` gets a copy of the account, and all accounts
    /// before the change. If it fails, or the change cannot be written, nothing is changed.
    pub(super) fn update<T>(
        &self,
        account: &AccountId,
        change: impl FnOnce(&mut AccountState, &Directory) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Fault> {
        let mut directory = self.0.directory.write();
        let mut state = directory.get(account).cloned().unwrap_or_default();
        let result = change(&mut state, &directory)?;
        let path = state_file(&self.0.dir, account);
        state.save(&path).map_err(|error| {
            tracing::error!(%error, path = %path.display(), "could not write IAM's state");
            Fault::service_failure(format!("cannot write {}: {error}", path.display()))
        })?;
        directory.insert(account.clone(), state);
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(result)
    }
}

fn identity_of(directory: &Directory, session: &Session) -> Option<Identity> {
    let state = directory.get(&session.account)?;
    match &session.principal {
        SessionPrincipal::Root => Some(Identity::Root),
        SessionPrincipal::User { id } => {
            let user = state.users.values().find(|user| user.id == *id)?;
            Some(Identity::User {
                name: user.name.clone(),
                path: user.path.clone(),
                id: user.id.clone(),
            })
        }
        SessionPrincipal::Role { id, session_name } => {
            let role = state.roles.values().find(|role| role.id == *id)?;
            Some(Identity::Role {
                name: role.name.clone(),
                path: role.path.clone(),
                id: role.id.clone(),
                session_name: session_name.clone(),
            })
        }
    }
}

/// Returns the path of an account's state file in the directory of a service.
pub fn state_file(dir: &Path, account: &AccountId) -> PathBuf {
    dir.join(format!("{account}.json"))
}

fn lock(dir: &Path) -> Result<Flock<File>> {
    let path = dir.join("lock");
    let open = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let failed = |source| Error::State {
        path: path.clone(),
        source,
    };
    let file = open.map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == nix::errno::Errno::EWOULDBLOCK {
            Error::InUse {
                dir: dir.to_owned(),
            }
        } else {
            failed(errno.into())
        }
    })
}

fn session_secret(path: &Path) -> io::Result<Secret> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Secret::from(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let secret = id::secret_access_key();
            private_file::replace_durably(path, secret.as_bytes())?;
            Ok(Secret::from(secret))
        }
        Err(e) => Err(e),
    }
}
