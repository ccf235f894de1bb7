//! The policy that a region's configuration file names.

use std::path::Path;

use vigil_base::error::chain;
use vigil_region::{RegionConfig, load_policy};

use super::{Finding, Verdict};

/// What is found of the policy; nothing where the file is not a region's.
pub(super) fn finding(config: &Path) -> Option<Finding> {
    let region = RegionConfig::load(config).ok()?;
    let what = format!("policy of {}", config.display());
    let Some(file) = region.policy else {
        let detail = "none is set: whoever may ask the region is given everything";
        return Some(Finding::new(what, Verdict::Absent, detail));
    };
    Some(match load_policy(&file) {
        Ok(policy) => {
            let detail = format!("{}, version {}, {} rules", file.display(), policy.version(), policy.rules());
            Finding::new(what, Verdict::Works, detail)
        }
        Err(error) => Finding::new(what, Verdict::Broken, chain(&error)),
    })
}
