//! What the session core goes by, as plain data that reads itself from a configuration file. Reads no
//! file and knows no flags.

pub mod number;
mod restore;
mod session;

pub use restore::{RestoreMode, RestoreSettings, Takeover};
pub use session::{
    AppSettings, CheckBitrate, HoldSettings, KeepaliveSettings, SessionBounds, SessionSettings, VideoSettings,
};
