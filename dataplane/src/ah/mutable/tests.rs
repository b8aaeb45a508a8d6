use super::*;

fn v4(options: &[u8]) -> Vec<u8> {
    let mut header = vec![
        0x45, 0xb9, 0, 100, 0x12, 0x34, 0x40, 0, 63, 51, 0xab, 0xcd, 192, 0, 2, 1, 192, 0, 2, 2,
    ];
    header[0] += (options.len() / 4) as u8;
    header.extend_from_slice(options);
    header
}

/// An IPv6 header that announces `first`, with extension headers the last of which announces AH.
fn v6(first: u8, extensions: &[&[u8]]) -> Vec<u8> {
    let mut header = vec![0x6b, 0x92, 0x34, 0x56, 0, 200, first, 64];
    header.extend_from_slice(&[0xaa; 16]);
    header.extend_from_slice(&[0xbb; 16]);
    for extension in extensions {
        header.extend_from_slice(extension);
    }
    header
}

#[test]
fn of_an_ipv4_header_the_fields_that_routers_write_count_as_zero() {
    let mut expected = v4(&[]);
    expected[1] = 0;
    expected[6..9].fill(0);
    expected[10..12].fill(0);
    assert_eq!(covered(&v4(&[])).unwrap()[..], expected);
}

#[test]
fn immutable_ipv4_options_are_covered_and_others_count_as_zero() {
    // Security, router alert and their like stay.
    for kept in [130, 133, 134, 148, 149] {
        let options = [kept, 4, 7, 8];
        assert_eq!(covered(&v4(&options)).unwrap()[20..], options);
    }
    // Time stamp, record route, one that nobody knows.
    for zeroed in [68, 7, 99] {
        let options = [1, zeroed, 5, 8, 9, 9, 0, 0];
        let found = covered(&v4(&options)).unwrap();
        assert_eq!(found[20..], [1, 0, 0, 0, 0, 0, 0, 0]);
    }
    // What follows the end of the options is padding, and covered.
    assert_eq!(covered(&v4(&[1, 0, 5, 6])).unwrap()[20..], [1, 0, 5, 6]);
    for malformed in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 0, 0], [1, 1, 1, 7]] {
        assert_eq!(covered(&v4(&malformed)), None);
    }
}

#[test]
fn a_source_route_counts_with_the_destination_at_its_end() {
    for kind in [131, 137] {
        // Pointer 4: nothing travelled yet; both addresses are still to come.
        let under_way = [kind, 11, 4, 10, 0, 0, 1, 10, 0, 0, 2, 1];
        let found = covered(&v4(&under_way)).unwrap();
        assert_eq!(found[16..20], [10, 0, 0, 2]);
        assert_eq!(found[20..31], [0; 11]);
        let arrived = [kind, 11, 12, 10, 0, 0, 1, 10, 0, 0, 2, 1];
        assert_eq!(covered(&v4(&arrived)).unwrap()[16..20], [192, 0, 2, 2]);
    }
}

#[test]
fn of_an_ipv6_header_class_flow_and_hop_limit_count_as_zero() {
    let mut expected = v6(51, &[]);
    expected[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    expected[7] = 0;
    assert_eq!(covered(&v6(51, &[])).unwrap()[..], expected);
}

#[test]
fn ipv6_options_count_by_the_bit_that_says_whether_they_may_change() {
    // 0x05 may not change, 0x3e may.
    let options = [51, 1, 5, 2, 7, 7, 0, 0x3e, 4, 9, 9, 9, 9, 1, 1, 5];
    let found = covered(&v6(0, &[&options])).unwrap();
    let expected = [51, 1, 5, 2, 7, 7, 0, 0x3e, 4, 0, 0, 0, 0, 1, 1, 5];
    assert_eq!(found[40..], expected);
    // An option that is longer than its header.
    assert_eq!(covered(&v6(60, &[&[51, 0, 5, 9, 0, 0, 0, 0]])), None);
}

#[test]
fn a_home_address_changes_places_with_the_source() {
    let mut option = vec![51, 2, 1, 2, 0, 0, 201, 16];
    option.extend_from_slice(&[0xcc; 16]);
    let found = covered(&v6(60, &[&option])).unwrap();
    assert_eq!(found[8..24], [0xcc; 16]);
    assert_eq!(found[48..64], [0xaa; 16]);
}

#[test]
fn a_routing_header_counts_as_it_arrives() {
    let routing = |kind, left| {
        let mut header = vec![51, 2, kind, left, 0, 0, 0, 0];
        header.extend_from_slice(&[0xdd; 16]);
        v6(43, &[&header])
    };
    let under_way = covered(&routing(2, 1)).unwrap();
    assert_eq!(under_way[24..40], [0xdd; 16]);
    assert_eq!(under_way[43], 0);
    assert_eq!(under_way[48..64], [0xbb; 16]);
    assert_eq!(covered(&routing(2, 0)).unwrap()[24..40], [0xbb; 16]);
    assert_eq!(covered(&routing(4, 1)), None, "its end cannot be foretold");
}

#[test]
fn a_fragmentation_header_counts_as_if_it_were_not_there() {
    let options = [44, 0, 1, 4, 0, 0, 0, 0];
    let with = v6(0, &[&options, &[51, 0, 0, 0, 1, 2, 3, 4]]);
    let mut without = v6(0, &[&[51, 0, 1, 4, 0, 0, 0, 0]]);
    without[5] -= 8;
    assert_eq!(covered(&with), covered(&without));
    assert!(covered(&with).is_some());
}

#[test]
fn headers_without_end_or_beyond_all_measure_are_refused() {
    assert_eq!(covered(&[]), None);
    assert_eq!(covered(&[0x45; 19]), None);
    let packet = v6(60, &[&[51, 0, 1, 4, 0, 0, 0, 0]]);
    assert_eq!(covered(&packet[..44]), None);
    let mut long = vec![51, 70];
    long.resize(71 * 8, 0);
    assert_eq!(covered(&v6(60, &[&long])), None);
}

proptest::proptest! {
    #[test]
    fn any_headers_are_read_without_harm(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..700)
    ) {
        if let Some(found) = covered(&bytes) {
            proptest::prop_assert!(found.len() <= bytes.len());
        }
    }
}
