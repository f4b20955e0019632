//! The query protocol: signatures, malformed requests and random input.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{AwsLab, REGION, document, root_key, root_secret};

/// A request to IAM or STS, and the values it is signed with.
#[derive(Clone)]
pub struct SignedRequest {
    pub key: String,
    pub secret: String,
    pub token: Option<String>,
    pub service: &'static str,
    pub time: SystemTime,
    pub body: Vec<u8>,
    /// The body that is sent instead of the signed one.
    pub sent: Option<Vec<u8>>,
}

impl SignedRequest {
    pub fn root(service: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            key: root_key(0),
            secret: root_secret(0),
            token: None,
            service,
            time: SystemTime::now(),
            body: body.into(),
            sent: None,
        }
    }

    /// Returns the headers of the signed request.
    fn headers(&self, host: &str) -> Vec<(String, String)> {
        let identity =
            Credentials::new(&self.key, &self.secret, self.token.clone(), None, "test").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(self.service)
            .time(self.time)
            .settings(SigningSettings::default())
            .build()
            .expect("parameters")
            .into();
        let content_type = (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
        let headers = [("host", host), content_type];
        let url = format!("http://{host}/");
        let body = SignableBody::Bytes(&self.body);
        let request = SignableRequest::new("POST", &url, headers.into_iter(), body);
        let (instructions, _) = sign(request.expect("a request"), &params)
            .expect("a signature")
            .into_parts();
        let own = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let added = instructions
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        own.into_iter().chain(added).collect()
    }

    pub async fn send(&self, lab: &AwsLab) -> (u16, String) {
        self.send_with(lab, |_| {}).await
    }

    /// Sends the request with headers that `change` alters after signing.
    async fn send_with(
        &self,
        lab: &AwsLab,
        change: impl Fn(&mut Vec<(String, String)>),
    ) -> (u16, String) {
        let host = lab.endpoint.strip_prefix("http://").expect("a URL");
        let mut headers = self.headers(host);
        change(&mut headers);
        let body = self.sent.as_ref().unwrap_or(&self.body);
        let mut request = b"POST / HTTP/1.1\r\nconnection: close\r\n".to_vec();
        for (name, value) in headers {
            request.extend(format!("{name}: {value}\r\n").bytes());
        }
        request.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
        request.extend(body);
        exchange(host, &request).await
    }
}

/// Sends bytes, and returns the status and body of the response.
pub async fn exchange(host: &str, request: &[u8]) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(host).await.expect("connect");
    stream.write_all(request).await.expect("send");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("receive");
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn code_of(body: &str) -> &str {
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or("", |(code, _)| code)
}

const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const LIST: &str = "Action=ListUsers&Version=2010-05-08";

#[tokio::test]
async fn signatures() {
    let lab = AwsLab::start().await;
    let right = SignedRequest::root("sts", IDENTITY);
    let (status, body) = right.send(&lab).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains(&format!(
            "<Arn>arn:aws:iam::{}:root</Arn>",
            super::ACCOUNTS[0]
        )),
        "{body}"
    );
    assert!(body.starts_with(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
    ));

    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let now = SystemTime::now();
    let with = |change: &dyn Fn(&mut SignedRequest)| {
        let mut signed = right.clone();
        change(&mut signed);
        signed
    };
    for (what, signed, status, code) in [
        (
            "fourteen minutes old",
            with(&|s| s.time = now - minutes(14)),
            200,
            "",
        ),
        (
            "fourteen minutes early",
            with(&|s| s.time = now + minutes(14)),
            200,
            "",
        ),
        (
            "sixteen minutes old",
            with(&|s| s.time = now - minutes(16)),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "sixteen minutes early",
            with(&|s| s.time = now + minutes(16)),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "another secret",
            with(&|s| s.secret = "x".into()),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "an unknown key",
            with(&|s| s.key = "AKIANOBODY".into()),
            403,
            "InvalidClientTokenId",
        ),
        (
            "a token with a lasting key",
            with(&|s| s.token = Some("t".into())),
            403,
            "InvalidClientTokenId",
        ),
        (
            "another service",
            with(&|s| s.service = "iam"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "another body",
            with(&|s| s.sent = Some(LIST.into())),
            403,
            "SignatureDoesNotMatch",
        ),
    ] {
        let (found, body) = signed.send(&lab).await;
        assert_eq!((found, code_of(&body)), (status, code), "{what}: {body}");
    }

    type Change = fn(&mut Vec<(String, String)>);
    let authorization = |change: fn(&str) -> String| {
        move |headers: &mut Vec<(String, String)>| {
            let header = headers.iter_mut().find(|(name, _)| name == "authorization");
            let (_, value) = header.expect("it is signed");
            *value = change(value);
        }
    };
    let without_header: Change = |headers| headers.retain(|(name, _)| name != "authorization");
    let (status, body) = right.send_with(&lab, without_header).await;
    assert_eq!(
        (status, code_of(&body)),
        (403, "MissingAuthenticationToken")
    );
    let without_date: Change = |headers| headers.retain(|(name, _)| name != "x-amz-date");
    let (status, body) = right.send_with(&lab, without_date).await;
    assert_eq!((status, code_of(&body)), (400, "IncompleteSignature"));
    for (change, status, code) in [
        (
            authorization(|_| "Bearer x".into()),
            400,
            "IncompleteSignature",
        ),
        (
            authorization(|v| v.replace("Signature=", "Sig=")),
            400,
            "IncompleteSignature",
        ),
        (
            authorization(|v| v.replace("/aws4_request", "")),
            400,
            "IncompleteSignature",
        ),
        (
            authorization(|v| v.replace("content-type;", "")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            authorization(|v| v.replace("host;", "")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            authorization(|v| v.replace("content-type;", "content-type;missing;")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            authorization(|v| v.replace("us-east-1", "eu-west-1")),
            403,
            "SignatureDoesNotMatch",
        ),
    ] {
        let (found, body) = right.send_with(&lab, &change).await;
        assert_eq!((found, code_of(&body)), (status, code), "{body}");
    }
}

#[tokio::test]
async fn requests_that_make_no_sense() {
    let lab = AwsLab::start().await;
    for (service, body, status, code) in [
        ("iam", "", 400, "MissingAction"),
        ("iam", "Action=ListUsers", 400, "InvalidAction"),
        (
            "iam",
            "Action=ListUsers&Version=2011-06-15",
            400,
            "InvalidAction",
        ),
        (
            "iam",
            "Action=MakeCoffee&Version=2010-05-08",
            400,
            "InvalidAction",
        ),
        (
            "iam",
            "Action=ListUsers&Version=2010-05-08&MaxItems=0",
            400,
            "ValidationError",
        ),
        (
            "iam",
            "Action=ListUsers&Version=2010-05-08&MaxItems=many",
            400,
            "ValidationError",
        ),
        (
            "iam",
            "Action=ListUsers&Version=2010-05-08&Marker=*",
            400,
            "ValidationError",
        ),
        (
            "iam",
            "Action=GetRole&Version=2010-05-08",
            400,
            "ValidationError",
        ),
        (
            "iam",
            "Action=GetRole&Version=2010-05-08&RoleName=a%20b",
            400,
            "ValidationError",
        ),
        (
            "iam",
            "Action=GetRole&Version=2010-05-08&RoleName=%FF",
            400,
            "MalformedQueryString",
        ),
        (
            "iam",
            "Action=CreateUser&Version=2010-05-08&UserName=u&Tags.member.1.Key=k",
            400,
            "NotSupported",
        ),
        (
            "iam",
            "Action=CreateUser&Version=2010-05-08&UserName=u&Path=no-slash",
            400,
            "ValidationError",
        ),
    ] {
        let (found, answer) = SignedRequest::root(service, body).send(&lab).await;
        assert_eq!(
            (found, code_of(&answer)),
            (status, code),
            "{body}: {answer}"
        );
        assert!(answer.contains("<RequestId>"), "{answer}");
    }
    let (status, body) = SignedRequest::root("iam", vec![b'a'; 2 << 20])
        .send(&lab)
        .await;
    assert_eq!((status, code_of(&body)), (413, "RequestEntityTooLarge"));
}

/// Randomly broken forms and documents: each gets a response, and none changes the state.
#[tokio::test]
async fn random_input() {
    let seed: u64 = std::env::var("ICEBOX_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(5);
    println!("ICEBOX_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut lab = AwsLab::start().await;
    lab.root(0).create_user("jo").await.expect("a user");
    let state = |lab: &AwsLab| {
        let dir = lab.dir.path().join("s3/.icebox/iam");
        let size = |name: &str| std::fs::metadata(dir.join(name)).map_or(0, |m| m.len());
        (
            size("111122223333.json"),
            std::fs::read_dir(&dir).map_or(0, Iterator::count),
        )
    };
    let before = state(&lab);

    let policy = document("01-iam-policy.json", &["lake"]);
    let trust = document(
        "03-iam-trust-one-principal.json",
        &["arn:aws:iam::999988887777:user/nobody", "ID"],
    );
    // No variant of these requests can change the state: the role does not exist, and the policy's
    // name is not valid.
    let starts = [
        format!(
            "Action=PutRolePolicy&Version=2010-05-08&RoleName=none&PolicyName=p&PolicyDocument={}",
            encoded(&policy)
        ),
        format!(
            "Action=UpdateAssumeRolePolicy&Version=2010-05-08&RoleName=none&PolicyDocument={}",
            encoded(&trust)
        ),
        format!(
            "Action=CreatePolicy&Version=2010-05-08&PolicyName=%20%20&PolicyDocument={}",
            encoded(&policy)
        ),
        format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/none&RoleSessionName=s&DurationSeconds=3600&Policy={}",
            encoded(&policy)
        ),
        "Action=ListUsers&Version=2010-05-08&MaxItems=10&Marker=am8".to_owned(),
        "Action=GetUser&Version=2010-05-08&UserName=jo".to_owned(),
    ];
    for round in 0..400 {
        let mut body = starts
            .choose(&mut random)
            .expect("one")
            .clone()
            .into_bytes();
        for _ in 0..random.random_range(1..6) {
            mutate(&mut body, &mut random);
        }
        let service = if random.random() { "iam" } else { "sts" };
        let (status, answer) = SignedRequest::root(service, body.clone()).send(&lab).await;
        assert!(
            status < 500,
            "round {round}: {status} {answer}\n{}",
            String::from_utf8_lossy(&body)
        );
        assert!(
            status == 200 || !code_of(&answer).is_empty(),
            "round {round}: {answer}"
        );
    }
    for round in 0..100 {
        let mut head = SignedRequest::root("sts", IDENTITY);
        head.key = "AKIA".to_owned() + &"/".repeat(random.random_range(0..3));
        let garbage: String = (0..random.random_range(0..60))
            .map(|_| {
                *b"AWS4-HMAC-SHA256 Credential=/,;Signature"
                    .choose(&mut random)
                    .expect("one") as char
            })
            .collect();
        let (status, answer) = head
            .send_with(&lab, |headers| {
                for (_, value) in headers
                    .iter_mut()
                    .filter(|(name, _)| name == "authorization")
                {
                    *value = format!("AWS4-HMAC-SHA256 {garbage}");
                }
            })
            .await;
        assert!(
            (400..500).contains(&status),
            "round {round}: {status} {answer}"
        );
    }
    assert_eq!(state(&lab), before, "nothing was made");
    let audit = lab.audit().await;
    assert_eq!(audit.len(), 501, "every request has its entry");
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Changes, removes, repeats or truncates bytes, or inserts a token that is difficult for parsers.
fn mutate(body: &mut Vec<u8>, random: &mut StdRng) {
    const TOKENS: [&str; 14] = [
        "%",
        "%7B",
        "%22",
        "%00",
        "%FF",
        "&",
        "=",
        "[[[[[[",
        "%5B",
        "*",
        "${",
        "\\u0000",
        "9999999999999999999",
        "null",
    ];
    if body.is_empty() {
        body.push(b'x');
    }
    let at = random.random_range(0..body.len());
    let to = (at + random.random_range(1..40)).min(body.len());
    match random.random_range(0..5) {
        0 => body[at] = random.random(),
        1 => {
            body.drain(at..to);
        }
        2 => {
            let piece = body[at..to].to_vec();
            body.splice(at..at, piece);
        }
        3 => {
            let token = TOKENS.choose(random).expect("one");
            body.splice(at..at, token.bytes());
        }
        _ => body.truncate(at),
    }
}
