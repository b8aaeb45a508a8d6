//! Nothing of a lab outlives it: no namespace, process, mount or directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use adit::lab::daemons::Daemons;
use adit::lab::wait::{self, Look};
use adit::lab::{Shape, Side, Topology, leftovers};
use rustix::process::{Pid, Signal, kill_process};

use crate::{alone, runnable};

const LIMIT: Duration = Duration::from_secs(15);

/// What is left of the lab `id` on this machine.
pub fn left_of(id: &str) -> Vec<String> {
    let mut left = Vec::new();
    for dir in ["/run", "/run/netns"] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if leftovers::belongs_to(id, &entry.file_name()) {
                left.push(entry.path().display().to_string());
            }
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").expect("the mounts");
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&format!("adit-{id}-")))
            .map(str::to_owned),
    );
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&format!("adit-lab-{id}/")))
            .map(str::to_owned),
    );
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains(&format!("adit-{id}-")) || command.contains(&format!("adit-lab-{id}/"))
        {
            left.push(command.replace('\0', " "));
        }
    }
    left
}

/// The processes of the lab `id` whose command line has one of these in it.
fn processes_of(id: &str, control: &str, dataplane: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let of_lab = command.contains(&format!("adit-lab-{id}/"));
        if of_lab && (command.contains(control) || command.contains(dataplane)) {
            pids.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    pids
}

/// `adit lab tunnel`, in the middle of something.
struct Scenario {
    child: Child,
}

impl Scenario {
    /// Over the kernel, long enough to be interrupted in the middle of its transfer.
    fn start() -> Self {
        let options = "--path kernel --seconds 60 --pings 1";
        Self::start_until("Mbit/s", options)
    }

    /// Starts it with these options and waits for a line of progress that has `part` in it.
    fn start_until(part: &str, options: &str) -> Self {
        let daemons = Daemons::find().expect("daemons");
        let mut child = Command::new(env!("CARGO_BIN_EXE_adit"))
            .args(["lab", "tunnel"])
            .args(options.split(' '))
            .env(
                "ADIT_BIN_DIR",
                daemons.control.parent().expect("a directory"),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut lines = stderr.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains(part)),
            "the scenario ended early"
        );
        // The pipe must not fill up or break while the scenario goes on.
        std::thread::spawn(move || lines.for_each(drop));
        Scenario { child }
    }

    /// Its lab's id: the first of its process.
    fn lab(&self) -> String {
        format!("{}-0", self.child.id())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("the scenario still runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        wait::until("the scenario to end", LIMIT, || {
            Ok(match self.child.try_wait().expect("a child of ours") {
                Some(status) => Look::Ready(status.code()),
                None => Look::NotYet(String::new()),
            })
        })
        .expect("an end")
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_lab_is_gone_when_its_value_goes() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape {
        queues: 2,
        tapped: true,
    })
    .expect("a lab");
    let id = topology.id().to_owned();
    let mut sleeper = topology
        .host(Side::A)
        .command("sleep")
        .arg("600")
        .spawn()
        .expect("sleep");
    let stray = topology.dir().join("gw-a").join("bpf");
    std::fs::create_dir_all(&stray).expect("a directory");
    let mounted = Command::new("mount")
        .args(["-t", "bpf", "bpf"])
        .arg(&stray)
        .status();
    assert!(mounted.expect("mount").success());
    assert!(!left_of(&id).is_empty());
    drop(topology);
    sleeper.wait().expect("killed with its namespace");
    assert_eq!(left_of(&id), [""; 0]);
}

#[test]
fn a_signal_takes_the_lab_down() {
    or_skip!(runnable());
    let _alone = alone();
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        let mut scenario = Scenario::start();
        let id = scenario.lab();
        assert!(!left_of(&id).is_empty());
        scenario.signal(signal);
        assert_eq!(scenario.exit_code(), Some(128 + number));
        assert_eq!(left_of(&id), [""; 0], "after {signal:?}");
    }
}

#[test]
fn ctrl_c_takes_running_gateways_down_with_all_they_pinned() {
    or_skip!(runnable());
    let _alone = alone();
    // Once one series of pings is through, both daemons of both gateways are at work.
    let mut scenario = Scenario::start_until("ping IPv4 host-a", "--seconds 1 --pings 20");
    let id = scenario.lab();
    let dir = Path::new("/run").join(format!("adit-lab-{id}"));
    for gateway in ["gw-a", "gw-b"] {
        let pins = std::fs::read_dir(dir.join(gateway).join("bpf/adit")).expect("pins");
        assert!(pins.count() > 0, "{gateway}");
    }
    let daemons = processes_of(&id, "/adit-control\0", "/adit-dataplane\0");
    assert_eq!(daemons.len(), 4, "{daemons:?}");
    scenario.signal(Signal::INT);
    assert_eq!(scenario.exit_code(), Some(128 + 2));
    assert_eq!(left_of(&id), [""; 0]);
    for pid in daemons {
        // One that has ended and that nobody has waited for is still listed, but has no program any more.
        let program = std::fs::read_link(format!("/proc/{pid}/exe"));
        assert!(program.is_err(), "{program:?} runs on as {pid}");
    }
    // A bpffs, with all that is pinned in it, lives as long as it is mounted in anybody's eyes.
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let mounts = std::fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        assert!(!mounts.contains(&id), "{:?}: {mounts}", entry.path());
    }
}

#[test]
fn a_panic_takes_the_lab_down() {
    or_skip!(runnable());
    let _alone = alone();
    let (send, receive) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let topology = Topology::build(Shape::default()).expect("a lab");
        send.send(topology.id().to_owned()).expect("a listener");
        panic!("on purpose");
    })
    .join();
    assert!(panicked.is_err());
    assert_eq!(left_of(&receive.recv().expect("an id")), [""; 0]);
}

#[test]
fn clean_removes_the_lab_of_a_killed_owner_and_no_other() {
    or_skip!(runnable());
    let _alone = alone();
    let mine = Topology::build(Shape::default()).expect("a lab");
    let mut killed = Scenario::start();
    let orphan = killed.lab();
    killed.signal(Signal::KILL);
    killed.exit_code();
    assert!(!left_of(&orphan).is_empty());

    let cleaned = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["lab", "clean"])
        .output();
    let cleaned = cleaned.expect("the command");
    assert!(cleaned.status.success(), "{cleaned:?}");
    assert_eq!(left_of(&orphan), [""; 0]);
    assert!(
        Path::new("/run/netns")
            .join(mine.host(Side::A).name())
            .exists()
    );
    assert!(mine.dir().exists());

    let refused = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["lab", "clean", mine.id()])
        .output();
    assert_eq!(
        refused.expect("the command").status.code(),
        Some(2),
        "it is in use"
    );
    assert!(mine.dir().exists());
}

#[test]
fn a_kept_lab_stays_until_it_is_removed_by_name() {
    or_skip!(runnable());
    let _alone = alone();
    let mut topology = Topology::build(Shape::default()).expect("a lab");
    let id = topology.id().to_owned();
    topology.keep().expect("a note");
    drop(topology);
    leftovers::clean().expect("cleaning");
    assert!(!left_of(&id).is_empty());

    let removed = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["lab", "clean", &id])
        .output();
    assert!(removed.expect("the command").status.success());
    assert_eq!(left_of(&id), [""; 0]);
}
