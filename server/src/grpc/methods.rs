//! The methods that are served, by their paths: labels of metrics come from here, never from callers.

use crate::metrics::RpcLabels;

/// How a call is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One message in, one out.
    Unary,
    Health,
    Reflection,
}

const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: &str = "/grpc.reflection.";

/// Paths of the methods of `inctrl.v1`.
const UNARY: [(&str, &str); 7] = [
    ("inctrl.v1.AnomalyDetectionService", "DetectAnomaly"),
    ("inctrl.v1.AnomalyDetectionService", "BatchDetectAnomalies"),
    ("inctrl.v1.PromptSetService", "CreatePromptSet"),
    ("inctrl.v1.PromptSetService", "GetPromptSet"),
    ("inctrl.v1.PromptSetService", "ListPromptSets"),
    ("inctrl.v1.PromptSetService", "DeletePromptSet"),
    ("inctrl.v1.ServerInfoService", "GetServerInfo"),
];

/// How a call of that path is let in, and what it is called in metrics and logs.
pub(super) fn of(path: &str) -> (Kind, RpcLabels) {
    let kind = match path {
        path if path.starts_with(HEALTH) => Kind::Health,
        path if path.starts_with(REFLECTION) => Kind::Reflection,
        _ => Kind::Unary,
    };
    let called = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let known = UNARY.into_iter().find(|&known| called == Some(known));
    let (grpc_service, grpc_method) = known.unwrap_or(("unknown", "unknown"));
    (kind, RpcLabels { grpc_type: "unary", grpc_service, grpc_method })
}

#[cfg(test)]
mod tests {
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_of_the_port_has_its_labels() {
        let set: FileDescriptorSet = prost::Message::decode(inctrl_proto::FILE_DESCRIPTOR_SET).unwrap();
        for file in set.file {
            for service in &file.service {
                for method in &service.method {
                    let service = format!("{}.{}", file.package(), service.name());
                    if !crate::grpc::SERVED.contains(&service.as_str()) {
                        continue;
                    }
                    let (kind, labels) = of(&format!("/{service}/{}", method.name()));
                    assert_eq!(kind, Kind::Unary);
                    assert_eq!((labels.grpc_service, labels.grpc_method), (service.as_str(), method.name()));
                }
            }
        }
    }

    #[test]
    fn strangers_share_one_label() {
        let (kind, labels) = of("/any.Thing/AtAll");
        assert_eq!((kind, labels.grpc_service, labels.grpc_method), (Kind::Unary, "unknown", "unknown"));
        assert_eq!(of("/grpc.health.v1.Health/Check").0, Kind::Health);
        assert_eq!(of("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo").0, Kind::Reflection);
    }
}
