//! The link: who counts, and what a data plane that misbehaves can do.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use adit_abi::message::MAX_MESSAGE;
use mio::{Events, Poll};

use super::*;

struct Rig {
    poll: Poll,
    plane: Plane,
    dir: PathBuf,
}

impl Rig {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("adit-plane-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let poll = Poll::new().unwrap();
        let plane = Plane::bind(&dir.join("s"), poll.registry(), 10).unwrap();
        Self { poll, plane, dir }
    }

    fn connect(&self) -> Link {
        Link::connect(&self.dir.join("s")).unwrap()
    }

    /// Everything that is there now.
    fn all(&mut self) -> Vec<Incoming> {
        let mut events = Events::with_capacity(64);
        self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        for event in &events {
            assert!(self.plane.ready(event));
        }
        let mut out = Vec::new();
        while let Some(incoming) = self.plane.poll(self.poll.registry(), Instant::now()) {
            out.push(incoming);
        }
        out
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn hello(pid: u32) -> Vec<u8> {
    let hello = ToControl::Hello {
        layout: 1,
        pid,
        running: None,
    };
    hello.emit()
}

fn show(incoming: &[Incoming]) -> Vec<String> {
    let show = |i: &Incoming| match i {
        Incoming::Hello { pid, fds, .. } => format!("hello {pid}, {} fds", fds.len()),
        Incoming::Message(m, fds) => format!("{m:?}, {} fds", fds.len()),
        Incoming::Gone => "gone".to_owned(),
    };
    incoming.iter().map(show).collect()
}

#[test]
fn the_data_plane_that_said_hello_last_counts() {
    let mut rig = Rig::new("last");
    let first = rig.connect();
    let file = std::fs::File::open("/dev/null").unwrap();
    first
        .send(&hello(1), &[file.as_fd(), file.as_fd()])
        .unwrap();
    first.send(&ToControl::Mapped.emit(), &[]).unwrap();
    assert_eq!(show(&rig.all()), ["hello 1, 2 fds", "Mapped, 0 fds"]);
    rig.plane.send(&ToDataplane::Regions, &[]);
    assert!(matches!(first.receive().unwrap(), Received::Message(m, _) if m == [1]));

    let second = rig.connect();
    assert!(rig.all().is_empty(), "it has not said Hello");
    assert!(rig.plane.is_connected());
    second.send(&hello(2), &[]).unwrap();
    assert_eq!(show(&rig.all()), ["hello 2, 0 fds"]);
    assert!(matches!(first.receive().unwrap(), Received::Closed));
    rig.plane.send(&ToDataplane::Changed, &[]);
    assert!(matches!(second.receive().unwrap(), Received::Message(..)));
    drop(second);
    assert_eq!(show(&rig.all()), ["gone"]);
    assert!(!rig.plane.is_connected());
}

#[test]
fn a_data_plane_that_misbehaves_is_dropped_and_the_next_one_served() {
    let mut rig = Rig::new("garbage");
    let mut overlong = hello(1);
    overlong.push(0);
    let endless = vec![1; MAX_MESSAGE + 1];
    for garbage in [
        &[][..],
        &[0],
        &[0xff; 100],
        &hello(1)[..5],
        &overlong,
        &endless,
    ] {
        // As a first message, and after a good one.
        for good_first in [false, true] {
            let link = rig.connect();
            if good_first {
                link.send(&hello(7), &[]).unwrap();
                assert_eq!(show(&rig.all()), ["hello 7, 0 fds"]);
            }
            link.send(garbage, &[]).unwrap();
            let told = show(&rig.all());
            assert_eq!(
                told,
                if good_first { vec!["gone"] } else { vec![] },
                "{garbage:?}"
            );
            assert!(matches!(link.receive(), Ok(Received::Closed)));
        }
    }
    let link = rig.connect();
    link.send(&hello(9), &[]).unwrap();
    assert_eq!(show(&rig.all()), ["hello 9, 0 fds"]);
    // Hello a second time, and anything else than Hello at first.
    link.send(&hello(9), &[]).unwrap();
    assert_eq!(show(&rig.all()), ["gone"]);
    let link = rig.connect();
    link.send(&ToControl::Ready.emit(), &[]).unwrap();
    assert!(rig.all().is_empty());
    assert!(matches!(link.receive().unwrap(), Received::Closed));
}

#[test]
fn connections_that_say_nothing_are_few_and_short_lived() {
    let mut rig = Rig::new("silent");
    let current = rig.connect();
    current.send(&hello(1), &[]).unwrap();
    rig.all();
    let silent: Vec<_> = (0..CANDIDATES + 2)
        .map(|_| {
            let link = rig.connect();
            rig.all();
            link
        })
        .collect();
    let open = |links: &[Link]| {
        let open = |l: &&Link| matches!(l.receive(), Ok(Received::Nothing));
        links.iter().filter(open).count()
    };
    assert_eq!(open(&silent), CANDIDATES);
    assert!(rig.plane.deadline().is_some());
    let later = Instant::now() + HELLO_WITHIN;
    assert!(rig.plane.poll(rig.poll.registry(), later).is_none());
    assert_eq!((open(&silent), rig.plane.deadline()), (0, None));
    assert!(
        rig.plane.is_connected(),
        "the one that counts is not touched"
    );
}

#[test]
fn what_a_slow_data_plane_does_not_read_waits_for_it() {
    let mut rig = Rig::new("slow");
    let link = rig.connect();
    link.send(&hello(1), &[]).unwrap();
    rig.all();
    let sas = vec![
        adit_abi::message::Prepare {
            sa: adit_abi::SaRef {
                slot: 1,
                generation: 1
            },
            last_sequence: 0
        };
        1024
    ];
    for token in 0..200 {
        let sas = sas.clone();
        rig.plane.send(&ToDataplane::Prepare { token, sas }, &[]);
    }
    let mut next = 0;
    let deadline = Instant::now() + Duration::from_secs(20);
    while next < 200 {
        assert!(Instant::now() < deadline, "only {next} messages came");
        match link.receive().unwrap() {
            Received::Message(bytes, _) => {
                let Ok(ToDataplane::Prepare { token, .. }) = ToDataplane::parse(&bytes) else {
                    panic!()
                };
                assert_eq!(token, next);
                next += 1;
            }
            Received::Nothing => assert!(rig.all().is_empty()),
            Received::Closed => panic!("closed after {next}"),
        }
    }
}

#[test]
fn a_flood_of_messages_leaves_others_their_turn() {
    let mut rig = Rig::new("flood");
    let link = rig.connect();
    link.send(&hello(1), &[]).unwrap();
    rig.all();
    let mut sent = 0;
    while sent < TURN * 2 && link.send(&ToControl::Ready.emit(), &[]).is_ok() {
        sent += 1;
    }
    assert!(sent > TURN);
    let mut events = Events::with_capacity(64);
    rig.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    events.iter().for_each(|e| {
        rig.plane.ready(e);
    });
    let mut taken = 0;
    while !rig.plane.turn_over() {
        match rig.plane.poll(rig.poll.registry(), Instant::now()) {
            Some(_) => taken += 1,
            None => break,
        }
    }
    assert_eq!(taken, TURN);
}
