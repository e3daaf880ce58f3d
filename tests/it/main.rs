//! Black-box tests: the built program over a real RabbitMQ and a real PostgreSQL, platforms as HTTP servers.

mod support;

mod crashes;
mod main_job;
