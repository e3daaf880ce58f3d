//! Ticketwire: the background worker that carries tickets between an application and the platforms
//! where the work is done. RabbitMQ brings the commands, Postgres is the ledger, the worker a
//! stateless pair of hands.
//!
//! The modules, in the order in which to read them; each may use those above it and never those
//! below:
//!
//! | module | what belongs there |
//! | --- | --- |
//! | [`domain`] | ids, platforms, integrations, tickets, outcomes: pure, synchronous, no IO |
//! | [`contract`] | what producers and dashboards see: envelope, commands, events, error codes |
//! | [`reach`] | why a connection did not come about, and what to do about it |
//! | [`config`] | every setting; nothing else reads the environment |
//! | [`secrets`] | key ring, sealed values, masking |
//! | [`telemetry`] | log set-up, metric names, fail points of the crash tests |
//! | [`store`] | every SQL statement |
//! | [`broker`] | everything that names lapin |
//! | [`platforms`] | the adapters and the one HTTP client; knows neither Postgres nor RabbitMQ |
//! | [`analysis`] | from free text to a ticket's fields: the rules, and a chat endpoint |
//! | [`integrations`] | what can be done to an integration: create, update, test, lifecycle |
//! | [`inbound`] | the way back: the listener of platforms' webhooks |
//! | [`pipeline`] | a command's life: intake, claim, dispatch, settle, relay, schedule |
//! | [`sandbox`] | stateful fake platforms over real HTTP |
//! | [`listening`] | connections from outside, limited |
//! | [`ops`] | health, metrics |
//! | [`start`] | what a worker looks at when it starts |
//! | [`app`] | the composition root of `ticketwire run` |
//! | [`cli`] | one file a subcommand |

pub mod analysis;
pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod contract;
pub mod domain;
pub mod inbound;
pub mod integrations;
pub mod listening;
pub mod ops;
pub mod pipeline;
pub mod platforms;
pub mod reach;
pub mod sandbox;
pub mod secrets;
pub mod start;
pub mod store;
pub mod telemetry;
