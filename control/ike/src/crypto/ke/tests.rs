use super::{KeError, KeMethod, KeSecret, KeSeed, respond};

fn seed(fill: u8) -> KeSeed {
    KeSeed::from_fn(|bytes| {
        bytes
            .iter_mut()
            .enumerate()
            .for_each(|(i, b)| *b = fill.wrapping_add((i as u8).wrapping_mul(7)))
    })
}

#[test]
fn both_sides_of_every_method_find_the_same_secret() {
    for method in KeMethod::ALL {
        let ours = KeSecret::start(method, seed(1));
        assert_eq!(ours.public().len(), method.initiator_len(), "{method}");
        let (answer, theirs) = respond(method, seed(99), ours.public()).unwrap();
        assert_eq!(answer.len(), method.responder_len(), "{method}");
        assert_eq!(ours.finish(&answer).unwrap(), theirs, "{method}");
        assert_eq!(KeMethod::from_id(method.id()), Some(method));
    }
}

#[test]
fn values_of_another_length_are_refused() {
    for method in KeMethod::ALL {
        let ours = KeSecret::start(method, seed(1));
        for wrong in [0, method.initiator_len() - 1, method.initiator_len() + 1] {
            let answered = respond(method, seed(2), &vec![3; wrong]);
            assert_eq!(answered.unwrap_err(), KeError::Length, "{method}");
        }
        for wrong in [0, method.responder_len() - 1, method.responder_len() + 1] {
            assert_eq!(
                ours.finish(&vec![3; wrong]),
                Err(KeError::Length),
                "{method}"
            );
        }
    }
}
