//! Jira.
use super::{
    Adapter, AdapterError, BaseUrl, CheckReport, Descriptor, Exchange, Operation, OperationKind,
    Protection, Receipt, Request, TestKind,
};
use crate::domain::{Integration, Platform};
use crate::secrets::Credentials;
use async_trait::async_trait;

/// Jira's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Jira,
    auth: &[],
    settings: &[],
    base_url: BaseUrl::UnlessCredential("cloud_id"),
    operations: &[],
    protection: "",
    limits: &[],
};

/// One Jira integration.
pub struct Jira;

impl Jira {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Validation.
    pub fn connect(
        _integration: &Integration,
        _credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        Ok(Self)
    }
}

#[async_trait]
impl Adapter for Jira {
    async fn execute(
        &self,
        _exchange: &Exchange<'_>,
        _operation: &Operation<'_>,
    ) -> Result<Receipt, AdapterError> {
        Err(AdapterError::unsupported("stub"))
    }
    async fn look_up(
        &self,
        _exchange: &Exchange<'_>,
        _operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        Err(AdapterError::unsupported("stub"))
    }
    async fn check(
        &self,
        _exchange: &Exchange<'_>,
        _test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        Err(AdapterError::unsupported("stub"))
    }
    fn plan(&self, _operation: &Operation<'_>) -> Result<Request, AdapterError> {
        Err(AdapterError::unsupported("stub"))
    }
    fn protection(&self, _kind: OperationKind) -> Protection {
        Protection::None
    }
}
