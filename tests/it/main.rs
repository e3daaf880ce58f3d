//! Black-box tests: the built program over a real RabbitMQ and a real PostgreSQL, platforms as HTTP
//! servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says so"
)]

mod support;

mod ai_create;
mod bad_input;
mod behaviour;
mod broker_faults;
mod budget;
mod canaries;
mod cli;
mod clock;
mod configured;
mod conformance;
mod crashes;
mod database_faults;
mod databases;
mod destinations;
mod doctor;
mod erase;
mod faults;
mod foreign;
mod forgotten;
mod inbound;
mod keys;
mod kill_loop;
mod legacy;
mod lifecycle;
mod mail_transport;
mod main_job;
mod migrations;
mod modes;
mod neighbours;
mod ops;
mod order;
mod outbox;
mod platforms;
mod poison;
mod pooler;
mod producers;
mod proxy;
mod receipts;
mod registration;
mod retention;
mod routing;
mod sandbox_smtp;
mod schema;
mod search;
mod starting;
mod sync;
mod sync_deletions;
mod sync_steps;
mod tenants;
mod terminal;
mod tickets;
mod tidy;
mod tls;
mod tokens;
mod usage;
mod webhooks;
mod workers;
