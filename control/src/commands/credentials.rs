//! `load-shared` and the other commands about secrets.

use adit_vici::{Element, Message};
use zeroize::Zeroizing;

use super::arguments::Arguments;
use crate::connection::values;
use crate::gateway::Gateway;
use crate::ike::secrets::Kind;

impl Gateway {
    /// `load-shared`: a pre-shared key or a password, and whose it is.
    pub(super) fn load_shared(&mut self, message: &Message) -> Result<(), String> {
        let a = Arguments::check(message, &["id", "type", "data", "owners"])?;
        let kinds = [
            ("ike", Kind::Ike),
            ("IKE", Kind::Ike),
            ("eap", Kind::Eap),
            ("EAP", Kind::Eap),
        ];
        let kind = a.word("type", &kinds)?.ok_or("type is missing")?;
        let data = a.bytes("data")?.ok_or("data is missing")?;
        if data.is_empty() {
            return Err("data is empty: a secret that everybody knows is none".into());
        }
        let mut owners = Vec::new();
        match message.element("owners") {
            None => {}
            Some(Element::List(items)) => {
                for item in items {
                    let text = item.as_str().ok_or("owners must be text")?;
                    let owner = values::identity_pattern(text)
                        .map_err(|e| format!("owners: {text:?}, expected {e}"))?;
                    owners.push(owner);
                }
            }
            Some(_) => return Err("owners must be a list".into()),
        }
        let data = Zeroizing::new(data.to_vec());
        self.ike.secrets.load(a.text("id")?, kind, data, owners)
    }

    /// `unload-shared`.
    pub(super) fn unload_shared(&mut self, message: &Message) -> Result<(), String> {
        let id = Arguments::check(message, &["id"])?.needed("id")?;
        if self.ike.secrets.unload(id) {
            Ok(())
        } else {
            Err(format!("there is no secret with the id {id:?}"))
        }
    }

    /// `get-shared`: the ids under which secrets were loaded.
    pub(super) fn get_shared(&self) -> Message {
        Message::new().with_list("keys", self.ike.secrets.names())
    }

    /// `clear-creds`: every secret, private key and certificate is forgotten.
    pub(super) fn clear_creds(&mut self) {
        self.ike.secrets.clear();
        self.ike.credentials.clear();
        self.tell_authorities();
    }
}
