//! Runs commands. [`lanes`] share the capacity out, one an integration; [`prepare`] gathers what a run needs; [`gates`] say
//! whether a command may run, and where it goes; [`routing`] chooses among integrations; [`dispatch`] runs a command about
//! a ticket; [`admin`] runs one that changes something of ours.

pub(super) mod admin;
pub(super) mod dispatch;
pub(super) mod gates;
pub(super) mod lanes;
pub(super) mod prepare;
pub(super) mod routing;
