//! The library blocks; within an async program it still works, whether called as advised or not.

use crate::kit::model_source::ModelSource;
use crate::kit::world::{World, backup, check_clean};

fn use_everything() -> usize {
    let world = World::new();
    let mut repository = world.init();
    backup(&mut repository, &ModelSource::new("/data").file("a", &crate::kit::noise(1, 3 << 20)));
    check_clean(&mut world.open());
    world.open().snapshots().len()
}

#[test]
fn it_works_on_a_thread_for_blocking_calls() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    assert_eq!(runtime.block_on(async { tokio::task::spawn_blocking(use_everything).await.unwrap() }), 1);
}

#[test]
fn it_works_directly_within_a_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    assert_eq!(runtime.block_on(async { use_everything() }), 1);
    assert_eq!(runtime.block_on(async { tokio::spawn(async { use_everything() }).await.unwrap() }), 1);
}
