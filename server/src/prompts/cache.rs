//! Features by content: computed once, whoever asks and under whatever name; the least used go when memory is short.

use std::sync::Arc;

use moka::future::Cache;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::PromptLease;
use crate::failure::Failure;
use crate::metrics::{Level, register_levels};

/// The cache counts weights in 32 bits.
const UNIT: u64 = 1 << 10;

/// Features of prompt sets by the digest of their content; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FeatureCache {
    leases: Cache<String, Arc<PromptLease>>,
    requests: Family<ResultLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl FeatureCache {
    pub(crate) fn new(most_bytes: u64, registry: &mut Registry) -> Self {
        let weigh = |_: &String, lease: &Arc<PromptLease>| {
            u32::try_from((lease.bytes as u64).div_ceil(UNIT)).unwrap_or(u32::MAX)
        };
        let leases = Cache::builder().max_capacity(most_bytes / UNIT).weigher(weigh).build();
        let requests = Family::default();
        let help = "Questions for features of prompt sets: found (hit), or computed (miss)";
        registry.register("inctrl_prompt_cache_requests", help, Family::clone(&requests));
        let (counted, weighed) = (leases.clone(), leases.clone());
        let levels = vec![
            Level {
                name: "inctrl_prompt_cache_entries",
                help: "Prompt sets whose features are cached",
                unit: None,
                read: Box::new(move || counted.entry_count()),
            },
            Level {
                name: "inctrl_prompt_cache",
                help: "Memory of cached features",
                unit: Some(Unit::Bytes),
                read: Box::new(move || weighed.weighted_size() * UNIT),
            },
        ];
        register_levels(registry, levels);
        Self { leases, requests }
    }

    /// The features of that content, and whether they were there. Callers that come while they are computed wait for
    /// the one that computes; when that one leaves, the next takes over.
    pub(crate) async fn get_or_compute(
        &self,
        digest: &str,
        compute: impl Future<Output = Result<Arc<PromptLease>, Failure>>,
    ) -> Result<(Arc<PromptLease>, bool), Failure> {
        let entry = self.leases.entry_by_ref(digest).or_try_insert_with(compute).await;
        let entry = entry.map_err(|failure| Failure::clone(&failure))?;
        let is_hit = !entry.is_fresh();
        self.requests.get_or_create(&ResultLabels { result: if is_hit { "hit" } else { "miss" } }).inc();
        Ok((entry.into_value(), is_hit))
    }
}
