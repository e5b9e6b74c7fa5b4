//! What the API server says no to, as a condition tells it. Its own words are told where nothing else would help, cut, and
//! without what differs from time to time.

use crate::cluster::ClusterError;
use crate::controller::observation::Trouble;

/// Longest text of the API server that is repeated.
const LONGEST_MESSAGE: usize = 512;

/// Why a Job is refused; none where asking again may help by itself.
pub(super) fn of_job(error: &ClusterError) -> Option<Trouble> {
    if !error.is_refusal() {
        return None;
    }
    let said = error.said().unwrap_or_default();
    let (reason, message) = if said.contains("exceeded quota") || said.contains("failed quota") {
        let message = "the namespace's quota has no room for the training job; see spec.training.resources and kubectl \
                       describe resourcequota";
        ("QuotaExceeded", message.to_owned())
    } else if is_unauthorized(said) {
        ("AccessDenied", "the operator may not make Jobs in this namespace; see its role".to_owned())
    } else {
        let said: String = said.chars().take(LONGEST_MESSAGE).collect();
        ("JobRefused", format!("the API server refuses the training job: {said}"))
    };
    Some(Trouble { reason, message })
}

/// Why a Secret cannot be read, where its namespace's rules are the reason.
pub(super) fn of_secret(name: &str, error: &ClusterError) -> Option<Trouble> {
    let message = format!("the operator may not read Secret {name} in this namespace; see its role");
    (error.code() == Some(403)).then_some(Trouble { reason: "AccessDenied", message })
}

/// Whether it is the operator's role that lacks something, in the words of the API server's authorization.
fn is_unauthorized(said: &str) -> bool {
    said.contains("is forbidden: User ") && said.contains(" cannot ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> ClusterError {
        let status =
            kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        ClusterError::Call { call: "create job", source: Box::new(kube::Error::Api(Box::new(status))) }
    }

    #[test]
    fn what_is_refused_has_a_reason_and_what_may_pass_has_none() {
        let reason = |code, message: &str| of_job(&refused(code, message)).map(|trouble| trouble.reason);
        let quota =
            "jobs.batch \"visa-train-abc\" is forbidden: exceeded quota: none, used: count/jobs.batch=7";
        assert_eq!(reason(403, quota), Some("QuotaExceeded"));
        let role = "jobs.batch \"x\" is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"jobs\"";
        assert_eq!(reason(403, role), Some("AccessDenied"));
        assert_eq!(reason(422, "Job.batch \"x\" is invalid: spec: too long"), Some("JobRefused"));
        for passing in [401, 409, 429, 500, 503] {
            assert_eq!(reason(passing, quota), None, "{passing}");
        }
        assert!(of_secret("store", &refused(503, "")).is_none());
    }

    #[test]
    fn the_figures_of_a_quota_are_not_told_and_long_words_are_cut() {
        let quota = |used: u8| of_job(&refused(403, &format!("exceeded quota: q, used: pods={used}")));
        assert_eq!(quota(1), quota(2));
        let long = of_job(&refused(422, &"a".repeat(4000))).unwrap();
        assert!(long.message.len() < LONGEST_MESSAGE + 100, "{}", long.message.len());
    }
}
