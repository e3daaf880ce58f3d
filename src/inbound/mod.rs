//! The way back: what platforms tell by themselves. A listener takes their deliveries, makes sure
//! that they are theirs, and hands them to the broker; it needs the database only to learn of what
//! has changed. What a delivery means, and what becomes of it, is the pipeline's business.

mod address;
mod body;
mod bucket;
mod entries;
mod handing;
mod judge;
mod listener;
pub mod seal;
pub mod secrets;
mod told;
mod verdict;

pub use listener::{Listener, ListenerQueue};
