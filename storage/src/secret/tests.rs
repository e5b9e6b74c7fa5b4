//! What a Secret can say, and what it must not be able to.

use rstest::rstest;

use super::*;

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];

fn settings(uri: &str, secret: &[(&str, &str)]) -> Result<BTreeMap<String, String>, SecretError> {
    let secret = secret.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    settings_of_secret(&uri.parse().unwrap(), &secret)
}

#[rstest]
#[case("s3://b/x", "AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/kubernetes.io/serviceaccount/token")]
#[case("s3://b/x", "AWS_Role_Arn", "arn:aws:iam::1:role/r")]
#[case("s3://b/x", "AWS_ENDPOINT_URL_STS", "https://sts.example")]
#[case("s3://b/x", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://evil.example")]
#[case("s3://b/x", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")]
#[case("s3://b/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/etc/passwd")]
#[case("s3://b/x", "AWS_METADATA_ENDPOINT", "http://evil.example")]
#[case("s3://b/x", "AWS_PROXY_URL", "http://evil.example")]
#[case("gs://b/x", "GOOGLE_SERVICE_ACCOUNT", "/etc/passwd")]
#[case("gs://b/x", "GOOGLE_APPLICATION_CREDENTIALS", "/etc/passwd")]
#[case("az://c/x", "AZURE_FEDERATED_TOKEN_FILE", "/etc/passwd")]
#[case("az://c/x", "AZURE_MSI_ENDPOINT", "http://evil.example")]
#[case("az://c/x", "AZURE_AUTHORITY_HOST", "https://evil.example")]
#[case("az://c/x", "AZURE_STORAGE_USE_EMULATOR", "true")]
#[case("az://c/x", "AZURE_USE_AZURE_CLI", "true")]
fn what_names_files_or_givers_of_credentials_is_refused_by_name(
    #[case] uri: &str,
    #[case] name: &str,
    #[case] value: &str,
) {
    let mut secret = KEYS.to_vec();
    secret.extend([("GOOGLE_SERVICE_ACCOUNT_KEY", "{}"), ("AZURE_STORAGE_ACCOUNT_KEY", "YQ==")]);
    assert!(settings(uri, &secret).is_ok());
    secret.push((name, value));
    let error = settings(uri, &secret).unwrap_err();
    assert!(matches!(&error, SecretError::Setting { name: named, .. } if named == name), "{error}");
    assert!(error.to_string().starts_with(name) && !error.to_string().contains(value), "{error}");
}

#[rstest]
#[case("http://169.254.169.254")]
#[case("http://2852039166")]
#[case("http://metadata.google.internal")]
#[case("https://key@host.example")]
#[case("file:///etc")]
fn an_endpoint_is_held_to_what_every_uri_is(#[case] endpoint: &str) {
    let mut secret = KEYS.to_vec();
    secret.push(("AWS_ENDPOINT_URL", endpoint));
    let error = settings("s3://b/x", &secret).unwrap_err();
    assert!(matches!(error, SecretError::Endpoint { .. }), "{error}");
    let key = format!("{{\"gcs_base_url\":{endpoint:?}}}");
    let error = settings("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT_KEY", &key)]).unwrap_err();
    assert!(matches!(error, SecretError::Endpoint { .. }), "{error}");
}

#[test]
fn a_region_is_no_way_to_another_host() {
    let mut secret = KEYS.to_vec();
    secret.push(("AWS_REGION", "a@169.254.169.254/#"));
    assert_eq!(settings("s3://b/x", &secret), Err(SecretError::Word { name: "AWS_REGION".to_owned() }));
}

#[rstest]
#[case("s3://b/x", &[("AWS_REGION", "here")])]
#[case("s3://b/x", &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SKIP_SIGNATURE", "false")])]
#[case("gs://b/x", &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")])]
#[case("az://c/x", &[("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_CLIENT_ID", "a")])]
fn a_secret_without_credentials_is_refused_rather_than_filled_up(
    #[case] uri: &str,
    #[case] secret: &[(&str, &str)],
) {
    let error = settings(uri, secret).unwrap_err();
    assert!(matches!(error, SecretError::Credentials { .. }), "{error}");
}

#[test]
fn what_a_store_needs_is_taken_and_the_rest_passed_over() {
    let mut secret = KEYS.to_vec();
    secret.extend([("AWS_ENDPOINT_URL", "http://minio.data:9000/"), ("AWS_ALLOW_HTTP", "true")]);
    secret.extend([("AWS_PROFILE", "x"), ("key.pub", "x"), ("GOOGLE_SERVICE_ACCOUNT", "/etc/passwd")]);
    let taken: Vec<_> = settings("s3://b/x", &secret).unwrap().into_keys().collect();
    assert_eq!(taken, ["aws_access_key_id", "aws_allow_http", "aws_endpoint_url", "aws_secret_access_key"]);
    assert_eq!(settings("s3://b/x", &[("aws_skip_signature", "true")]).unwrap().len(), 1);
    assert_eq!(settings("pvc://claim/x", &secret), Ok(BTreeMap::new()));
}
