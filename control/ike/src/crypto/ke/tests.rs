use super::{KeError, KeMethod, KeSecret, KeSeed, respond};
use crate::crypto::vectors::{self, hex};
use sha2::{Digest, Sha256};

fn seed(first: u8) -> KeSeed {
    let octet = |i: usize| first.wrapping_add((i as u8).wrapping_mul(7));
    KeSeed::from_fn(|bytes| {
        bytes
            .iter_mut()
            .enumerate()
            .for_each(|(i, b)| *b = octet(i))
    })
}

/// A seed that begins with these octets.
fn seed_of(octets: &[u8]) -> KeSeed {
    KeSeed::from_fn(|bytes| bytes[..octets.len()].copy_from_slice(octets))
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

/// Digests of what Python's integers give for the same exponents.
#[test]
fn modp_groups_compute_what_other_integers_compute() {
    let digest = |bytes: &[u8]| {
        Sha256::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let cases = [
        (
            KeMethod::Modp768,
            "91251c97eb43fdb078f05f5a634f12a067389fcc420d181f8173d1ed25521998",
            "90a8ece2c2be23516bf54dab2f67583af5eaa180d74695e0c37ae73ed1adaf9a",
        ),
        (
            KeMethod::Modp1024,
            "9e32ccbc23f45c52dff77810c4bd9e2a9b90eceb7ad59edbe54aa2c6485aaae3",
            "3debe5fb61f583a56a762bb293d77e52d14edb1623f95703ca79062c2679832d",
        ),
        (
            KeMethod::Modp1536,
            "e704583413eb1db0d556b38a6de94cb0742e451b339a4d44cb45c9fe985070b9",
            "dcfdcae314ff2b2d5312390d9075cb18f56e543b1b4b7ed66471d5799301bb19",
        ),
        (
            KeMethod::Modp2048,
            "399180ecd5c5692ec7adae7dd5256c73098417c7641144cb11afc5d9ae8f2a43",
            "9f25c350a09ada48afb476e7cb3d56febe2fbdfae36a2bd78c48eecf17f00a96",
        ),
        (
            KeMethod::Modp3072,
            "7d7ef95cb42024f83d6f8a1959e532d928b6c09f488ddc86b587850d04abd7a8",
            "f7313e704a0b3bc1949fa0c365d0b401592e2134e85dcc62e1264d5dc86dce29",
        ),
        (
            KeMethod::Modp4096,
            "066faff3ef539489e86aa52f0d4c44c7753fc865b59c3d3cf05c9c0a34a0b757",
            "ea3ffcdc16a4e6265b105db5941fc6c49c4154cb696c8db1601e692be64637dc",
        ),
        (
            KeMethod::Modp6144,
            "bc9f5cc8a6c7d2e7ad331c14a518896d840238fbf571e796a7ae29f42b6894e4",
            "879beb4d3182aef2b689f26928c2365cb7babb85c72e6d62c64159867f141b0c",
        ),
        (
            KeMethod::Modp8192,
            "af87c77b5bef90eec3fa5991f0a93c515c9f57badf70394e2f6b43bcb5135c5e",
            "268fbab79f20c844c701ec71a587c01cddcbc0f560cb7feb4dcfd281b741430c",
        ),
    ];
    for (method, public, shared) in cases {
        let ours = KeSecret::start(method, seed(1));
        assert_eq!(digest(ours.public()), public, "{method}");
        let (_, secret) = respond(method, seed(99), ours.public()).unwrap();
        assert_eq!(digest(secret.as_bytes()), shared, "{method}");
    }
}

#[test]
fn modp_values_that_give_a_known_secret_are_refused() {
    for method in KeMethod::ALL
        .into_iter()
        .filter(|m| m.id() <= KeMethod::Modp8192.id())
    {
        let ours = KeSecret::start(method, seed(1));
        let len = method.initiator_len();
        let small = |n: u8| [vec![0; len - 1], vec![n]].concat();
        // The primes end in 64 one-bits and begin with as many: p - 1 ends in fe.
        let prime = prime_of(method);
        let mut less = prime.clone();
        less[len - 1] -= 1;
        for bad in [small(0), small(1), less, prime, vec![0xff; len]] {
            assert_eq!(ours.finish(&bad), Err(KeError::Value), "{method}");
            assert_eq!(
                respond(method, seed(2), &bad).unwrap_err(),
                KeError::Value,
                "{method}"
            );
        }
        assert!(ours.finish(&small(2)).is_ok());
    }
}

fn prime_of(method: KeMethod) -> Vec<u8> {
    use super::modp_primes as primes;
    hex(match method {
        KeMethod::Modp768 => primes::MODP_768,
        KeMethod::Modp1024 => primes::MODP_1024,
        KeMethod::Modp1536 => primes::MODP_1536,
        KeMethod::Modp2048 => primes::MODP_2048,
        KeMethod::Modp3072 => primes::MODP_3072,
        KeMethod::Modp4096 => primes::MODP_4096,
        KeMethod::Modp6144 => primes::MODP_6144,
        _ => primes::MODP_8192,
    })
}

/// RFC 5903 §8.
#[test]
fn ecp_groups_compute_the_values_of_rfc_5903() {
    let cases = [
        (
            KeMethod::Ecp256,
            "C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
            "DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180
             5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
            "C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53",
            "D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63
             56FBF3CA 366CC23E 8157854C 13C58D6A AC23F046 ADA30F83 53E74F33 039872AB",
            "D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
        ),
        (
            KeMethod::Ecp384,
            "099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16 0647B674 14DCE655
             E35B5380 41E649EE 3FAEF896 783AB194",
            "667842D7 D180AC2C DE6F74F3 7551F557 55C7645C 20EF73E3 1634FE72 B4C55EE6
             DE3AC808 ACB4BDB4 C88732AE E95F41AA 9482ED1F C0EEB9CA FC498462 5CCFC23F
             65032149 E0E144AD A0241815 35A0F38E EB9FCFF3 C2C947DA E69B4C63 4573A81C",
            "41CB0779 B4BDB85D 47846725 FBEC3C94 30FAB46C C8DC5060 855CC9BD A0AA2942
             E0308312 916B8ED2 960E4BD5 5A7448FC",
            "E558DBEF 53EECDE3 D3FCCFC1 AEA08A89 A987475D 12FD950D 83CFA417 32BC509D
             0D1AC43A 0336DEF9 6FDA41D0 774A3571 DCFBEC7A ACF31964 72169E83 8430367F
             66EEBE3C 6E70C416 DD5F0C68 759DD1FF F83FA401 42209DFF 5EAAD96D B9E6386C",
            "11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718 7521287E 7156C5C4
             D6031355 69B9E9D0 9CF5D4A2 70F59746",
        ),
        (
            KeMethod::Ecp521,
            "0037ADE9 319A89F4 DABDB3EF 411AACCC A5123C61 ACAB57B5 393DCE47 608172A0
             95AA85A3 0FE1C295 2C6771D9 37BA9777 F5957B26 39BAB072 462F68C2 7A57382D 4A52",
            "0015417E 84DBF28C 0AD3C278 713349DC 7DF153C8 97A1891B D98BAB43 57C9ECBE
             E1E3BF42 E00B8E38 0AEAE57C 2D107564 94188594 2AF5A7F4 601723C4 195D176C ED3E
             017CAE20 B6641D2E EB695786 D8C94614 6239D099 E18E1D5A 514C739D 7CB4A10A
             D8A78801 5AC405D7 799DC75E 7B7D5B6C F2261A6A 7F150743 8BF01BEB 6CA3926F 9582",
            "0145BA99 A847AF43 793FDD0E 872E7CDF A16BE30F DC780F97 BCCC3F07 8380201E
             9C677D60 0B343757 A3BDBF2A 3163E4C2 F869CCA7 458AA4A4 EFFC311F 5CB15168 5EB9",
            "00D0B397 5AC4B799 F5BEA16D 5E13E9AF 971D5E9B 984C9F39 728B5E57 39735A21
             9B97C356 436ADC6E 95BB0352 F6BE64A6 C2912D4E F2D0433C ED2B6171 640012D9 460F
             015C6822 6383956E 3BD066E7 97B623C2 7CE0EAC2 F551A10C 2C724D98 52077B87
             220B6536 C5C408A1 D2AEBB8E 86D678AE 49CB5709 1F473229 6579AB44 FCD17F0F C56A",
            "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
        ),
    ];
    for (method, i, public_i, r, public_r, shared) in cases {
        let ours = KeSecret::start(method, seed_of(&hex(i)));
        assert_eq!(ours.public(), hex(public_i), "{method}");
        let (answer, secret) = respond(method, seed_of(&hex(r)), ours.public()).unwrap();
        assert_eq!(answer, hex(public_r), "{method}");
        assert_eq!(secret.as_bytes(), hex(shared), "{method}");
    }
}

#[test]
fn points_that_are_not_on_the_curve_are_refused() {
    for method in [KeMethod::Ecp256, KeMethod::Ecp384, KeMethod::Ecp521] {
        let ours = KeSecret::start(method, seed(1));
        let len = method.initiator_len();
        let mut off = ours.public().to_vec();
        off[len - 1] ^= 1;
        // The curve's twist, too: x of a point with another y.
        let mut swapped = ours.public()[len / 2..].to_vec();
        swapped.extend_from_slice(&ours.public()[..len / 2]);
        for bad in [vec![0; len], vec![0xff; len], off, swapped] {
            assert_eq!(ours.finish(&bad), Err(KeError::Value), "{method}");
            assert_eq!(
                respond(method, seed(2), &bad).unwrap_err(),
                KeError::Value,
                "{method}"
            );
        }
    }
}

/// RFC 7748 §5.2.
#[test]
fn x25519_computes_the_values_of_rfc_7748() {
    let cases = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
        // The first of the iterations, whose point is the base point.
        (
            "0900000000000000000000000000000000000000000000000000000000000000",
            "0900000000000000000000000000000000000000000000000000000000000000",
            "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        ),
    ];
    for (scalar, point, result) in cases {
        let ours = KeSecret::start(KeMethod::X25519, seed_of(&hex(scalar)));
        assert_eq!(ours.finish(&hex(point)).unwrap().as_bytes(), hex(result));
        if hex(point)[0] == 9 {
            assert_eq!(ours.public(), hex(result));
        }
    }
}

#[test]
fn x25519_points_of_small_order_are_refused() {
    let ours = KeSecret::start(KeMethod::X25519, seed(1));
    let one = [vec![1], vec![0; 31]].concat();
    let order_8 = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    let minus_one = [vec![0xec], vec![0xff; 30], vec![0x7f]].concat();
    for bad in [vec![0; 32], one, order_8, minus_one] {
        assert_eq!(ours.finish(&bad), Err(KeError::Value));
        assert_eq!(
            respond(KeMethod::X25519, seed(2), &bad).unwrap_err(),
            KeError::Value
        );
    }
}

#[test]
fn ml_kem_computes_its_known_answers() {
    for case in vectors::load("nist/ml_kem.json") {
        let method = match case.text("name") {
            "mlkem512" => KeMethod::MlKem512,
            "mlkem768" => KeMethod::MlKem768,
            _ => KeMethod::MlKem1024,
        };
        let ours = KeSecret::start(method, seed_of(&[case.hex("d"), case.hex("z")].concat()));
        assert_eq!(ours.public(), case.hex("key"));
        let (answer, shared) =
            respond(method, seed_of(&case.hex("message")), ours.public()).unwrap();
        assert_eq!(answer, case.hex("ciphertext"));
        assert_eq!(shared.as_bytes(), case.hex("shared"));
        assert_eq!(ours.finish(&answer).unwrap(), shared);
        // Of a ciphertext for another key comes another secret, and nobody is told.
        let other = ours.finish(&case.hex("other_ciphertext")).unwrap();
        assert_eq!(other.as_bytes(), case.hex("other_shared"));
    }
}

#[test]
fn an_ml_kem_key_with_a_coefficient_beyond_the_modulus_is_refused() {
    for method in [KeMethod::MlKem512, KeMethod::MlKem768, KeMethod::MlKem1024] {
        let mut key = KeSecret::start(method, seed(1)).public().to_vec();
        (key[0], key[1]) = (0xff, 0xff);
        assert_eq!(
            respond(method, seed(2), &key).unwrap_err(),
            KeError::Value,
            "{method}"
        );
    }
}

#[test]
fn seeds_and_secrets_never_show_themselves() {
    let ours = KeSecret::start(KeMethod::X25519, seed_of(&[0xab; 32]));
    let shown = format!("{ours:?} {:?}", ours.finish(&[9; 32]).unwrap());
    assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
    assert!(shown.contains("Secret(32 octets)"));
}
