//! NAT keepalives (RFC 3948 §4) go out from the data plane, whether control lives or not.

use adit::lab::Side;
use adit::lab::capture::{Kind, WireCapture};
use adit::lab::sas::{SaShape, TunnelPlan};
use adit::lab::wait::{self, Look};

use crate::rig::{LIMIT, Rig, assert_nothing_clear};
use crate::{alone, runnable};

/// Keepalives that the gateway of `side` has sent so far.
fn keepalives(capture: &WireCapture, side: Side) -> usize {
    let frames = capture.so_far(side).expect("a capture");
    let kinds = frames.iter().map(adit::lab::capture::Frame::kind);
    kinds.filter(|kind| *kind == Kind::Keepalive).count()
}

fn wait_for_keepalives(capture: &WireCapture, side: Side, count: usize) {
    let what = format!("{count} keepalives of {}", side.gateway());
    wait::until(&what, LIMIT, || {
        let seen = keepalives(capture, side);
        Ok(if seen >= count {
            Look::Ready(())
        } else {
            Look::NotYet(format!("{seen} so far"))
        })
    })
    .expect("keepalives");
}

#[test]
fn keepalives_go_out_on_an_idle_tunnel_and_go_on_after_control_was_killed() {
    or_skip!(runnable());
    let _alone = alone();
    let encapsulated = SaShape {
        encap: true,
        ..SaShape::default()
    };
    let mut rig = Rig::unstarted();
    rig.configure("keepalive = 1");
    rig.start(&TunnelPlan::fresh(encapsulated).expect("random octets"));
    let capture = rig.capture("keepalives");
    for side in Side::BOTH {
        wait_for_keepalives(&capture, side, 2);
    }
    rig.each(|gateway| gateway.kill_control());
    for side in Side::BOTH {
        // Two SAs a side share what is on the wire now; more than one more interval must have gone by.
        let by_now = keepalives(&capture, side);
        wait_for_keepalives(&capture, side, by_now + 4);
    }
    let captured = capture.stop().expect("every frame");
    assert_nothing_clear(&captured);
    let sealed = captured.count(|kind| matches!(kind, Kind::Esp { .. }));
    assert_eq!(sealed, 0, "nobody has sent anything");
}
