//! Messages of the control socket and of the link between the processes.

use adit_abi::message::{ToControl, ToDataplane};
use adit_vici::{Message, packet};

pub fn vici_packet(data: &[u8]) {
    if let Ok(Some((segment, _))) = packet::first_segment(data)
        && let Ok(parsed) = packet::Packet::parse(segment)
    {
        let again = parsed.emit().expect("what was parsed fits a packet");
        let (segment, _) = packet::first_segment(&again)
            .expect("a length")
            .expect("whole");
        assert_eq!(
            packet::Packet::parse(segment).expect("our own packet"),
            parsed
        );
    }
}

pub fn vici_message(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        let again = message.emit().expect("what was parsed fits a message");
        assert_eq!(Message::parse(&again).expect("our own message"), message);
    }
}

pub fn plane_message(data: &[u8]) {
    if let Ok(message) = ToDataplane::parse(data) {
        assert_eq!(ToDataplane::parse(&message.emit()), Ok(message));
    }
    if let Ok(message) = ToControl::parse(data) {
        // Texts are cut when sent; what came from ourselves is stable.
        let sent = message.emit();
        assert_eq!(
            ToControl::parse(&sent).expect("our own message").emit(),
            sent
        );
    }
}
