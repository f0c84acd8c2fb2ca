use std::time::SystemTime;

use super::*;

#[test]
fn unfinished_files_go_when_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let (part, file) = new_part(&dir.path().join("x")).unwrap();
    std::fs::write(dir.path().join("mine.part"), "").unwrap();
    clear_parts(dir.path(), Duration::from_secs(60));
    assert!(part.exists());
    file.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    clear_parts(dir.path(), Duration::from_secs(60));
    assert!(!part.exists() && dir.path().join("mine.part").exists());
}

#[test]
fn what_cannot_be_appended_whole_is_not_appended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    std::fs::write(&path, "a\n").unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    append(&mut file, b"b\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
}

#[test]
fn a_folder_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    let folder = Folder::open(&out, "test", &["x"], false).unwrap();
    std::fs::write(folder.path().join("x"), "half").unwrap();
    assert!(Folder::open(&out, "test", &["x"], false).is_err_and(|e| e.to_string().contains("another run")));
    drop(folder);
    assert!(!dir.path().join("a").exists());
}

#[test]
fn what_comes_in_the_way_meanwhile_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path(), "test", &["x"], false).unwrap();
    std::fs::write(folder.path().join("x"), "new").unwrap();
    std::fs::write(dir.path().join("x"), "mine").unwrap();
    folder.finish().unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read("x"), read("x.old1")), ("new".into(), "mine".into()));
    let folder = Folder::open(dir.path(), "test", &["x"], false).unwrap();
    std::fs::write(folder.path().join("x"), "newer").unwrap();
    folder.finish().unwrap();
    assert_eq!((read("x"), dir.path().join("x.old2").exists()), ("newer".into(), false));
}
