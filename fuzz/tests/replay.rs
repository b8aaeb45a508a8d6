//! Replays every corpus, each file also with many small changes. Deterministic, so that a failure repeats.

use std::path::Path;

/// Changed inputs per corpus file.
const CHANGES: u64 = 800;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Flips, overwrites, cuts, inserts or repeats, one to four times.
fn change(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 4, 41];
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[at] = TELLING[dice.below(TELLING.len())],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, dice.below(256) as u8),
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend(&tail[..tail.len().min(64)]);
            }
        }
    }
    bytes
}

#[test]
fn no_target_stumbles_over_its_corpus_or_anything_near_it() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in adit_fuzz::TARGETS {
        let mut inputs = vec![Vec::new(), vec![0; 64], vec![0xff; 64]];
        let folder = corpora.join(target.name);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{} has no corpus: {e}", target.name))
            .map(|entry| entry.expect("a file").path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{} has an empty corpus", target.name);
        inputs.extend(
            files
                .iter()
                .map(|path| std::fs::read(path).expect("a file")),
        );
        for (n, input) in inputs.iter().enumerate() {
            (target.run)(input);
            let mut dice = Dice(n as u64 + 1);
            for _ in 0..CHANGES.div_ceil(inputs.len() as u64).max(50) {
                (target.run)(&change(input, &mut dice));
            }
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(corpora).expect("the corpora").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            adit_fuzz::target(&name).is_some(),
            "corpus `{name}` has no target"
        );
    }
}
