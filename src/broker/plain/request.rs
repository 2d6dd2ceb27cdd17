//! What is said to the broker, as frames of AMQP 0-9-1.

use super::super::{Address, Auth};

/// The first bytes of all.
pub const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const END: u8 = 0xCE;

/// What concerns the connection as a whole.
const CONNECTION: u16 = 0;
/// The one channel.
const CHANNEL: u16 = 1;

/// Logs in, and asks to be told of alarms, and of a refused login in words.
pub fn login(name: &str, address: &Address) -> Vec<u8> {
    let yes = |name: &str| field(name, b't', &[1]);
    let word = |name: &str, text: &str| field(name, b'S', &long_text(text.as_bytes()));
    let capabilities =
        long_text(&[yes("connection.blocked"), yes("authentication_failure_close")].concat());
    let properties = long_text(
        &[
            word("product", env!("CARGO_PKG_NAME")),
            word("version", env!("CARGO_PKG_VERSION")),
            word("connection_name", name),
            field("capabilities", b'F', &capabilities),
        ]
        .concat(),
    );
    let (mechanism, response) = match address.auth {
        Auth::Plain => {
            let login = address.login();
            ("PLAIN", format!("\0{}\0{}", login.user, login.password))
        }
        Auth::External => ("EXTERNAL", String::new()),
    };
    let response = long_text(response.as_bytes());
    method(CONNECTION, 10, 11, &[properties, short_text(mechanism), response, short_text("en_US")])
}

/// Agrees to the broker's limits, and asks for a heartbeat of so many seconds.
pub fn tuned(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    let [channels, heartbeat] = [channel_max, heartbeat].map(|number| number.to_be_bytes().into());
    method(CONNECTION, 10, 31, &[channels, frame_max.to_be_bytes().into(), heartbeat])
}

/// Opens a virtual host.
pub fn open(vhost: &str) -> Vec<u8> {
    method(CONNECTION, 10, 40, &[short_text(vhost), vec![0, 0]])
}

/// Opens the channel.
pub fn open_channel() -> Vec<u8> {
    method(CHANNEL, 20, 10, &[vec![0]])
}

/// Publishes an empty message to the default exchange, under the empty key: no queue has an empty name, and the broker
/// drops it.
pub fn publish_nothing() -> Vec<u8> {
    let publish = method(CHANNEL, 60, 40, &[vec![0, 0], short_text(""), short_text(""), vec![0]]);
    // Class, weight, no byte of body, no property.
    let header = frame(HEADER, CHANNEL, &[&[0, 60, 0, 0][..], &[0; 8], &[0, 0]].concat());
    [publish, header].concat()
}

/// Asks for what is the case already, for the sake of an answer.
pub fn anything() -> Vec<u8> {
    method(CHANNEL, 60, 10, &[vec![0; 4], vec![0; 2], vec![0]])
}

/// Looks for a queue, which is to be there.
pub fn find_queue(queue: &str) -> Vec<u8> {
    const PASSIVE: u8 = 1;
    method(CHANNEL, 50, 10, &[vec![0, 0], short_text(queue), vec![PASSIVE], vec![0; 4]])
}

/// Asks for one message of a queue, which remains there until it is acknowledged.
pub fn get(queue: &str) -> Vec<u8> {
    method(CHANNEL, 60, 70, &[vec![0, 0], short_text(queue), vec![0]])
}

/// Acknowledges one message, which is then in the queue no more.
pub fn acknowledge(tag: u64) -> Vec<u8> {
    method(CHANNEL, 60, 80, &[tag.to_be_bytes().into(), vec![0]])
}

/// Gives one message back to its queue.
pub fn give_back(tag: u64) -> Vec<u8> {
    const REQUEUE: u8 = 2;
    method(CHANNEL, 60, 120, &[tag.to_be_bytes().into(), vec![REQUEUE]])
}

/// Ends the channel: what is not acknowledged goes back into its queue.
pub fn close_channel() -> Vec<u8> {
    method(CHANNEL, 20, 40, &[200_u16.to_be_bytes().into(), short_text(""), vec![0; 4]])
}

/// Ends the connection.
pub fn close() -> Vec<u8> {
    method(CONNECTION, 10, 50, &[200_u16.to_be_bytes().into(), short_text(""), vec![0; 4]])
}

/// Agrees to the end of the connection.
pub fn close_agreed() -> Vec<u8> {
    method(CONNECTION, 10, 51, &[])
}

fn method(channel: u16, class: u16, method: u16, arguments: &[Vec<u8>]) -> Vec<u8> {
    let head = [class.to_be_bytes(), method.to_be_bytes()].concat();
    frame(METHOD, channel, &[head, arguments.concat()].concat())
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &channel.to_be_bytes(), &long_text(payload), &[END]].concat()
}

fn field(name: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    [&short_text(name)[..], &[tag], value].concat()
}

/// Ends at 255 bytes.
fn short_text(text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(usize::from(u8::MAX))];
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length][..], text.as_bytes()].concat()
}

/// Bytes behind their length; a table is such too.
fn long_text(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}
