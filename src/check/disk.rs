//! Room on a disk of this machine.

use std::{io, path::Path};

use bytesize::ByteSize;

use super::{
    finding::{Area, Finding},
    shell::word,
};

/// With less than this nothing is safe any more.
const LEAST: u64 = 64 << 20;
/// With less than this, or less than a twentieth of the disk, it is time to look after it.
const LITTLE: u64 = 1 << 30;

/// How much room there is where this path is.
pub fn check(area: Area, check: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    match rustix::fs::statvfs(path) {
        Ok(found) => {
            let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
            judge(area, check, path, bytes(found.f_bavail), bytes(found.f_blocks))
        }
        Err(error) => Finding::unknown(area, check, format!("{shown}: {}", io::Error::from(error)))
            .command(format!("df -h {}", word(&path.to_string_lossy()))),
    }
}

fn judge(area: Area, check: &'static str, path: &Path, free: u64, whole: u64) -> Finding {
    let found = format!("{}: {} free of {}", path.display(), ByteSize::b(free), ByteSize::b(whole));
    let finding = match free {
        free if free < LEAST => Finding::fault(area, check, found),
        free if free < LITTLE || free < whole / 20 => Finding::warning(area, check, found),
        _ => return Finding::ok(area, check, found),
    };
    finding
        .advise("free space or add some")
        .command(format!("du -xh -d 2 {} | sort -h | tail", word(&path.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_disk_is_judged_by_what_is_free() {
        let verdict =
            |free, whole| judge(Area::Files, "log disk", Path::new("/"), free, whole).verdict;
        assert_eq!(verdict(LEAST - 1, 1 << 40), Verdict::Fault);
        assert_eq!(verdict(LITTLE - 1, 1 << 31), Verdict::Warning);
        assert_eq!(verdict(2 << 30, 1 << 40), Verdict::Warning);
        assert_eq!(verdict(2 << 30, 20 << 30), Verdict::Ok);
    }
}
