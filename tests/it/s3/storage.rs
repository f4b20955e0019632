//! The files on disk, and what happens to them.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use object_store::ObjectStoreExt;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use super::{BUCKET, TestServer, server_config};
use crate::assert_error;
use icebox_s3::Server;
use icebox_s3_client::S3Config;
use icebox_s3_client::{aws_client, ensure_bucket};

/// Returns every file under a directory, by its relative path.
fn files_under(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn objects_are_files_that_a_person_can_read_and_place() {
    let server = TestServer::start().await;
    server
        .put("frompg/tables/db/1/data.txt", "from a client")
        .await;
    let path = server.files().join("frompg/tables/db/1/data.txt");
    assert_eq!(fs::read_to_string(&path).unwrap(), "from a client");

    fs::write(server.files().join("by-hand.txt"), "hello").unwrap();
    let head = || {
        server
            .client
            .head_object()
            .bucket(BUCKET)
            .key("by-hand.txt")
            .send()
    };
    assert_eq!(
        head().await.unwrap().e_tag(),
        Some("\"5d41402abc4b2a76b9719d911017c592\"")
    );
    assert_eq!(
        server.keys().await,
        ["by-hand.txt", "frompg/tables/db/1/data.txt"]
    );

    // An object whose file was edited by hand has the ETag of its new content.
    fs::write(&path, "edited").unwrap();
    let listed = server
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .prefix("frompg/")
        .send()
        .await
        .unwrap();
    assert_eq!(
        listed.contents()[0].e_tag(),
        Some("\"683dc5278b1fbbd98a996cecc3ffd06a\"")
    );
    let got = server
        .client
        .get_object()
        .bucket(BUCKET)
        .key("frompg/tables/db/1/data.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(got.e_tag(), listed.contents()[0].e_tag());
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"edited");
}

#[tokio::test]
async fn no_key_leaves_the_buckets_directory() {
    let server = TestServer::start().await;
    server
        .client
        .create_bucket()
        .bucket("other")
        .send()
        .await
        .unwrap();
    let secret = server.dir.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    let long = format!("{}/{}", "é".repeat(300), "x".repeat(400));
    let keys = [
        "../secret",
        "../../etc/passwd",
        "..",
        ".",
        "a/../../secret",
        "/etc/passwd",
        "//double",
        "a//b",
        "a/./b",
        "../other/x",
        "..\\x",
        "%2e%2e/secret",
        "%00",
        "line\nbreak",
        "trailing/",
        "trailing//",
        "%",
        &long,
    ];
    for key in keys {
        server.put(key, key).await;
    }
    for key in keys {
        assert_eq!(server.get(key).await, key.as_bytes(), "{key:?}");
    }
    let mut sorted = keys.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(server.keys().await, sorted);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
    assert_eq!(
        files_under(&server.dir.path().join("other")),
        Vec::<String>::new()
    );
    for key in keys {
        server
            .client
            .delete_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await
            .unwrap();
    }
    assert_eq!(fs::read_dir(server.files()).unwrap().count(), 0);

    // The raw path is sent, without a client's normalization.
    let answer = server.raw("GET", "/lake/../secret", &[], b"").await;
    assert_eq!(answer.error(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_key_and_keys_below_it_live_side_by_side() {
    let server = TestServer::start().await;
    for order in [["a", "a/b", "a/b/c", "a/"], ["a/b/c", "a/b", "a", "a/"]] {
        for key in order {
            server.put(key, key).await;
        }
        for key in order {
            server.put(key, format!("{key} again")).await;
        }
        assert_eq!(server.keys().await, ["a", "a/", "a/b", "a/b/c"]);
        for key in order {
            assert_eq!(server.get(key).await, format!("{key} again").as_bytes());
        }
        for (n, key) in order.iter().enumerate() {
            server
                .client
                .delete_object()
                .bucket(BUCKET)
                .key(*key)
                .send()
                .await
                .unwrap();
            assert_eq!(server.keys().await.len(), 3 - n);
            assert_error!(
                server.client.get_object().bucket(BUCKET).key(*key),
                404,
                "NoSuchKey"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_puts_and_deletes_in_one_directory_lose_nothing() {
    let server = TestServer::start().await;
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        let client = server.client.clone();
        tasks.spawn(async move {
            for round in 0..60 {
                // All keys are in one directory, which becomes empty and is pruned again and again.
                // `dir` is an object, too.
                let key = if worker == 0 {
                    "deep/dir".to_owned()
                } else {
                    format!("deep/dir/{worker}")
                };
                let body = format!("{worker} {round}").into_bytes();
                client
                    .put_object()
                    .bucket(BUCKET)
                    .key(&key)
                    .body(body.clone().into())
                    .send()
                    .await
                    .unwrap();
                let got = client
                    .get_object()
                    .bucket(BUCKET)
                    .key(&key)
                    .send()
                    .await
                    .unwrap();
                assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
                client
                    .delete_object()
                    .bucket(BUCKET)
                    .key(&key)
                    .send()
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(server.keys().await.is_empty());
    assert_eq!(fs::read_dir(server.files()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_the_old_or_the_new_object_never_a_mixture() {
    let server = TestServer::start().await;
    let body = |n: u8| vec![n; 400_000 + usize::from(n)];
    server.put("object", body(0)).await;
    let client = server.client.clone();
    let writer = tokio::spawn(async move {
        for n in 1..40 {
            client
                .put_object()
                .bucket(BUCKET)
                .key("object")
                .body(body(n).into())
                .send()
                .await
                .unwrap();
        }
    });
    let mut reads = 0;
    while !writer.is_finished() || reads == 0 {
        let got = server.get("object").await;
        assert!(
            got == body(got[0]),
            "{} bytes that begin with {}",
            got.len(),
            got[0]
        );
        reads += 1;
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_off_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let server = TestServer::start().await;
    let presigning =
        aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let url = server
        .client
        .put_object()
        .bucket(BUCKET)
        .key("partial")
        .presigned(presigning)
        .await
        .unwrap();
    let path = url.uri().strip_prefix(&server.config.endpoint).unwrap();
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 5000000\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; 3_000_000]).await.unwrap();
    drop(stream);
    let tmp = server.dir.path().join(".icebox/tmp");
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    while fs::read_dir(&tmp).unwrap().count() > 0 && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    assert!(server.keys().await.is_empty());
}

const KILL_TEST_ROOT: &str = "ICEBOX_TEST_S3_ROOT";

/// Runs the server that the next test kills, in a child process. It is not a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as a child of the test that kills it"]
async fn server_to_be_killed() {
    let Some(root) = std::env::var_os(KILL_TEST_ROOT) else {
        return;
    };
    let server = Server::bind(server_config(Path::new(&root))).await.unwrap();
    println!("endpoint {}", server.client_config().endpoint);
    server.run(std::future::pending()).await.unwrap();
}

/// Returns the body of an object's version. Every line names the version, from which the length of
/// the body follows.
fn versioned_body(key: &str, version: u64) -> Vec<u8> {
    let line = format!("{key} version {version}\n");
    line.repeat(1 + (version as usize * 7919) % 40_000)
        .into_bytes()
}

fn version_of(body: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(body).ok()?.lines().next()?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_objects_survive_kill_9_and_nothing_partial_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let mut next_version = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "s3::storage::server_to_be_killed",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(KILL_TEST_ROOT, root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint = lines
            .find_map(|l| Some(l.unwrap().split_once("endpoint ")?.1.to_owned()))
            .unwrap();
        let config = S3Config {
            endpoint,
            ..TestServer::start().await.config.clone()
        };
        ensure_bucket(&config, BUCKET).await.unwrap();
        let client = aws_client(&config);

        let listed = client
            .list_objects_v2()
            .bucket(BUCKET)
            .send()
            .await
            .unwrap();
        let listed: Vec<_> = listed
            .contents()
            .iter()
            .map(|o| (o.key().unwrap(), o.size().unwrap()))
            .collect();
        for key in acknowledged.keys() {
            assert!(
                listed.iter().any(|(k, _)| k == key),
                "{key} was acknowledged and is gone"
            );
        }
        for (key, size) in listed {
            let got = client
                .get_object()
                .bucket(BUCKET)
                .key(key)
                .send()
                .await
                .unwrap();
            let body = got.body.collect().await.unwrap().to_vec();
            let version =
                version_of(&body).unwrap_or_else(|| panic!("{key}: the body names no version"));
            assert!(
                body == versioned_body(key, version) && body.len() as i64 == size,
                "{key} is not whole"
            );
            assert!(
                acknowledged.get(key).is_none_or(|a| version >= *a),
                "{key} went back to {version}"
            );
            acknowledged.insert(key.to_owned(), version);
        }
        assert!(
            round == 0 || !acknowledged.is_empty(),
            "nothing was written before the kill"
        );
        assert_eq!(
            fs::read_dir(root.path().join(".icebox/tmp"))
                .unwrap()
                .count(),
            0
        );

        let kill_after = Duration::from_millis(random.random_range(100..600));
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(kill_after);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            child.wait().unwrap();
        });
        let mut writers = JoinSet::new();
        for writer in 0..4_u64 {
            let client = client.clone();
            let first = next_version + writer * 10_000;
            writers.spawn(async move {
                let mut written = Vec::new();
                for version in first..first + 10_000 {
                    let key = format!("w{writer}/{}", version % 5);
                    let body = versioned_body(&key, version).into();
                    match client
                        .put_object()
                        .bucket(BUCKET)
                        .key(&key)
                        .body(body)
                        .send()
                        .await
                    {
                        Ok(_) => written.push((key, version)),
                        Err(_) => break,
                    }
                }
                written
            });
        }
        while let Some(written) = writers.join_next().await {
            acknowledged.extend(written.unwrap());
        }
        killer.join().unwrap();
        next_version += 40_000;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_are_quick() {
    let server = TestServer::start().await;
    let store = icebox_s3_client::object_store(&server.config, BUCKET, None).unwrap();
    let body = bytes::Bytes::from(vec![7; 1000]);
    let rounds = 500_u32;
    let (mut puts, mut gets) = (Duration::ZERO, Duration::ZERO);
    for n in 0..rounds {
        let path = object_store::path::Path::from(format!("dir/{n}"));
        let begun = Instant::now();
        store.put(&path, body.clone().into()).await.unwrap();
        puts += begun.elapsed();
        let begun = Instant::now();
        let got = store.get(&path).await.unwrap().bytes().await.unwrap();
        gets += begun.elapsed();
        assert_eq!(got, body);
    }
    println!(
        "1 kB: PUT {:?}, GET {:?} on average",
        puts / rounds,
        gets / rounds
    );
    // The bound is far above the half millisecond that an optimised build takes on an idle machine,
    // and below the 40 ms of a TCP delay.
    assert!((puts + gets) / (2 * rounds) < Duration::from_millis(15));
}
