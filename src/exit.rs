//! The exit codes, as `--help` lists them; 69, 70, 74, 75 and 78 are those of sysexits.h.

/// A clean stop: everything in hand was committed and acked.
pub const CLEAN: u8 = 0;
/// A failure, said in the last line of the log: of the database, never of the broker, which is tried again for ever.
pub const FAILURE: u8 = 1;
/// Of commands that read: nothing matched.
pub const NOTHING: u8 = 1;
/// Of a check: something is wrong.
pub const FAULTY: u8 = 1;
/// Of a verification: something is not as it was recorded.
pub const DAMAGED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// Of a replay: some events are in no queue. Of dead letters: some that were meant are left.
pub const UNDELIVERED: u8 = 4;
/// Of commands that read: the database cannot be asked. It is away, refuses, or its schema is another one.
pub const UNAVAILABLE: u8 = 69;
/// A part of the daemon, or a command that reads, died (a panic).
pub const DIED: u8 = 70;
/// Of commands that read: what was found cannot be written.
pub const OUTPUT: u8 = 74;
/// A stop was cut short, by the end of the grace period, a second signal or an outage; the rest stays with the broker.
pub const UNFINISHED: u8 = 75;
/// The configuration is wrong, or what exists on the broker is not what it asks for; restarting does not help.
pub const CONFIG: u8 = 78;
