//! `icebox bench` runs and reports every measurement. The times themselves are not tested.

use std::process::Command;

#[test]
fn a_small_bench_reports_every_measurement() {
    let temporary = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(temporary.path(), mode).unwrap();
    let output = Command::new(crate::support::icebox())
        .args(["bench", "--json", "--rows", "2000"])
        .args([
            "--only", "bulk", "--only", "delete", "--only", "query", "--only", "memory",
        ])
        // Nothing of the user's environment is used, neither a state directory nor DuckDB.
        .env("TMPDIR", temporary.path())
        .env("ICEBOX_STATE_DIR", temporary.path().join("user"))
        .env("ICEBOX_CLIENTS", temporary.path().join("no-clients"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"], 2000);
    assert!(report["cores"].as_u64() >= Some(1));
    assert!(report["engine"].is_string() && report["postgres_version"].is_string());

    let measurements = report["measurements"].as_array().unwrap();
    let mut names = Vec::new();
    for one in measurements {
        names.push(one["name"].as_str().unwrap());
        let number = |field: &str| one[field].as_f64().filter(|value| *value > 0.0).unwrap();
        assert!(
            number("min") <= number("median") && number("median") <= number("max"),
            "{one}"
        );
        assert!(number("runs") >= 1.0, "{one}");
        assert!(
            ["s", "rows/s", "B"].contains(&one["unit"].as_str().unwrap()),
            "{one}"
        );
        for peer in one["peers"].as_array().unwrap() {
            assert!(
                peer["name"].is_string() && peer["ratio"].as_f64() > Some(0.0),
                "{one}"
            );
        }
    }
    let mut wanted = vec!["memory.started", "memory.started.rss", "bulk", "delete"];
    let queries: Vec<String> = ["count-and-sum", "revenue-by-store", "top-products"]
        .iter()
        .flat_map(|query| {
            ["heap", "pg_lake", "reader", "reader-opening"].map(|by| format!("query.{query}.{by}"))
        })
        .collect();
    wanted.extend(queries.iter().map(String::as_str));
    wanted.extend(["memory.worked", "memory.worked.rss"]);
    assert_eq!(names, wanted);
    let bulk = measurements
        .iter()
        .find(|one| one["name"] == "bulk")
        .unwrap();
    assert_eq!(bulk["peers"][0]["name"], "heap to heap");
    assert!(bulk["goal"]["is_met"].is_boolean() && bulk["yardstick"]["from"].is_number());

    let skipped = report["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0]["what"], "DuckDB");
    assert!(
        skipped[0]["reason"]
            .as_str()
            .unwrap()
            .contains("just clients"),
        "{skipped:?}"
    );

    // The benchmark's sandboxes have been removed.
    let left: Vec<_> = std::fs::read_dir(temporary.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("icebox-bench-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
