//! A container's file system: a root folder with the volumes, and what the image would have, in it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, PersistentVolume,
    PersistentVolumeClaim, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::files::{self, Data, Kind, Waiting};
use super::rewrite::Rewrite;
use super::{Image, Shared};

/// Lays out the root folder of a container below `folder`; volumes of the pod's own lie in `shared`. Answers how its
/// paths are rewritten.
pub(super) async fn lay_out(
    node: &Shared,
    pod: &Pod,
    container: &Container,
    address: &str,
    image: &Image,
    folder: &Path,
) -> Result<Rewrite, Waiting> {
    let root = folder.join("root");
    let io = |error: std::io::Error| Waiting::mount(format!("laying out {}: {error}", root.display()));
    let mounts: Vec<_> = container.volume_mounts.iter().flatten().collect();
    let termination = termination_path(container).to_owned();
    let paths = mounts.iter().map(|mount| mount.mount_path.trim_end_matches('/').to_owned());
    let files = image.files.iter().map(|(path, _)| path.clone());
    let rewrite = Rewrite::new(&root, paths.chain(files).chain([termination.clone()]));
    let mut links = Vec::new();
    for mount in mounts {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = volumes.into_iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| Waiting::mount(format!("no volume {:?}", mount.name)))?;
        let source = source(node, pod, volume, address, folder, &rewrite).await?;
        let source = match &mount.sub_path {
            Some(sub) if !sub.is_empty() => source.join(sub),
            _ => source,
        };
        if !source.exists() {
            std::fs::create_dir_all(&source).map_err(io)?;
        }
        links.push((mount.mount_path.trim_end_matches('/').to_owned(), source));
    }
    links.extend(image.files.iter().cloned());
    links.sort();
    for (path, target) in links {
        let place = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(place.parent().unwrap_or(&root)).map_err(io)?;
        if !place.is_symlink() {
            symlink(target, place).map_err(io)?;
        }
    }
    let message = root.join(termination.trim_start_matches('/'));
    std::fs::create_dir_all(message.parent().unwrap_or(&root)).map_err(io)?;
    std::fs::write(message, "").map_err(io)?;
    Ok(rewrite)
}

/// Where a container leaves its last words.
pub(super) fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().unwrap_or("/dev/termination-log")
}

/// The folder of a volume, filled.
async fn source(
    node: &Shared,
    pod: &Pod,
    volume: &Volume,
    address: &str,
    folder: &Path,
    rewrite: &Rewrite,
) -> Result<PathBuf, Waiting> {
    let namespace = pod.namespace().unwrap_or_default();
    if volume.empty_dir.is_some() {
        // The containers of a pod share it.
        return Ok(folder.with_file_name("volumes").join(&volume.name));
    }
    if let Some(host) = &volume.host_path {
        return Ok(PathBuf::from(&host.path));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return claimed(node, &namespace, &claim.claim_name).await;
    }
    let mut files = Data::new();
    if let Some(map) = &volume.config_map {
        let data = files::needed(node, &namespace, Kind::ConfigMap, &map.name, map.optional).await;
        files.extend(config_files(data.map_err(as_mount)?, map.items.as_deref(), rewrite)?);
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let data = files::needed(node, &namespace, Kind::Secret, name, secret.optional).await;
        files.extend(picked(data.map_err(as_mount)?, secret.items.as_deref())?);
    } else if let Some(api) = &volume.downward_api {
        files.extend(downward(node, pod, address, api.items.as_deref(), rewrite)?);
    } else if let Some(projected) = &volume.projected {
        for part in projected.sources.iter().flatten() {
            if let Some(map) = &part.config_map {
                let data = files::needed(node, &namespace, Kind::ConfigMap, &map.name, map.optional).await;
                files.extend(config_files(data.map_err(as_mount)?, map.items.as_deref(), rewrite)?);
            }
            if let Some(secret) = &part.secret {
                let data = files::needed(node, &namespace, Kind::Secret, &secret.name, secret.optional).await;
                files.extend(picked(data.map_err(as_mount)?, secret.items.as_deref())?);
            }
            if let Some(api) = &part.downward_api {
                files.extend(downward(node, pod, address, api.items.as_deref(), rewrite)?);
            }
            if let Some(token) = &part.service_account_token {
                files.insert(token.path.clone(), service_account_token(node, pod, token).await?);
            }
        }
    } else {
        return Err(Waiting::mount(format!(
            "volume {:?} is of a kind that this node does not know",
            volume.name
        )));
    }
    let target = folder.join("volumes").join(&volume.name);
    let write = |(path, bytes): (String, Vec<u8>)| {
        let file = target.join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(&target))?;
        std::fs::write(file, bytes)
    };
    let written = std::fs::create_dir_all(&target).and_then(|()| files.into_iter().try_for_each(write));
    written.map_err(|error| Waiting::mount(format!("writing volume {:?}: {error}", volume.name)))?;
    Ok(target)
}

fn as_mount(Waiting { message, .. }: Waiting) -> Waiting {
    Waiting::mount(message)
}

fn config_files(data: Data, items: Option<&[KeyToPath]>, rewrite: &Rewrite) -> Result<Data, Waiting> {
    let rewritten = |(path, bytes): (String, Vec<u8>)| match String::from_utf8(bytes) {
        Ok(text) => (path, rewrite.text(&text).into_bytes()),
        Err(bytes) => (path, bytes.into_bytes()),
    };
    Ok(picked(data, items)?.into_iter().map(rewritten).collect())
}

/// All keys, or those that are named, under the paths that are given to them.
fn picked(mut data: Data, items: Option<&[KeyToPath]>) -> Result<Data, Waiting> {
    let Some(items) = items else { return Ok(data) };
    let pick = |item: &KeyToPath| match data.remove(&item.key) {
        Some(bytes) => Ok((item.path.clone(), bytes)),
        None => Err(Waiting::mount(format!("references non-existent key: {}", item.key))),
    };
    items.iter().map(pick).collect()
}

fn downward(
    node: &Shared,
    pod: &Pod,
    address: &str,
    items: Option<&[DownwardAPIVolumeFile]>,
    rewrite: &Rewrite,
) -> Result<Data, Waiting> {
    let fields = items.into_iter().flatten().filter_map(|item| Some((item, item.field_ref.as_ref()?)));
    let file = |(item, from): (&DownwardAPIVolumeFile, &ObjectFieldSelector)| {
        let value = files::field(node, pod, address, &from.field_path)?;
        Ok((item.path.clone(), rewrite.text(&value).into_bytes()))
    };
    fields.map(file).collect()
}

/// The folder of a bound claim: that of its volume, which must be one of this machine.
async fn claimed(node: &Shared, namespace: &str, name: &str) -> Result<PathBuf, Waiting> {
    let failed = |error: kube::Error| Waiting::mount(format!("claim {name:?}: {error}"));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(node.client.clone(), namespace);
    let claim = claims.get(name).await.map_err(failed)?;
    let bound = claim.spec.and_then(|spec| spec.volume_name);
    let bound = bound.ok_or_else(|| Waiting::mount(format!("claim {name:?} is not bound")))?;
    let volumes: Api<PersistentVolume> = Api::all(node.client.clone());
    let volume = volumes.get(&bound).await.map_err(failed)?.spec;
    let host = volume.as_ref().and_then(|spec| spec.host_path.as_ref()).map(|host| &host.path);
    let local = volume.as_ref().and_then(|spec| spec.local.as_ref()).map(|local| &local.path);
    let path = host.or(local).map(PathBuf::from);
    path.ok_or_else(|| Waiting::mount(format!("volume {bound:?} is no folder of this machine")))
}

async fn service_account_token(
    node: &Shared,
    pod: &Pod,
    token: &ServiceAccountTokenProjection,
) -> Result<Vec<u8>, Waiting> {
    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let request = json!({ "metadata": {}, "spec": {
        "audiences": token.audience.iter().collect::<Vec<_>>(),
        "expirationSeconds": token.expiration_seconds,
        "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid() },
    }});
    let failed = |error: String| Waiting::mount(format!("token of account {account:?}: {error}"));
    let request: TokenRequest = serde_json::from_value(request).map_err(|error| failed(error.to_string()))?;
    let accounts: Api<ServiceAccount> =
        Api::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default());
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let status = answer.map_err(|error| failed(error.to_string()))?.status;
    let token = status.and_then(|status| status.token).filter(|token| !token.is_empty());
    token.map(String::into_bytes).ok_or_else(|| failed("none in the answer".to_owned()))
}
