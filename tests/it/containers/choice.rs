//! The engine that `auto` chooses.

use super::sandbox::{ContainerSandbox, is_enabled};

#[test]
fn auto_takes_containers_when_the_images_are_there() {
    if !is_enabled() {
        return;
    }
    let sandbox = ContainerSandbox::new();
    let up = sandbox.ok(&["up"]);
    assert!(
        up.contains("engine containers: auto took it: the container engine at"),
        "{up}"
    );
}

#[test]
fn auto_goes_on_without_a_container_engine_or_an_image() {
    if !is_enabled() {
        return;
    }
    for (name, value, reason) in [
        (
            "DOCKER_HOST",
            "unix:///nonexistent/docker.sock",
            "containers: no container engine",
        ),
        (
            "ICEBOX_S3_IMAGE",
            "icebox-no-such-image:1",
            "containers: image icebox-no-such-image:1 is missing",
        ),
    ] {
        let sandbox = ContainerSandbox::with(&[(name, value)]);
        let up = sandbox.ok(&["up"]);
        assert!(up.contains(reason), "{up}");
        assert!(!up.contains("engine containers"), "{up}");
        assert!(!sandbox.state_dir.join("containers.json").exists());
    }
}
