//! The catalog: the day files that there were at one moment, and what they say about themselves. Those that the index speaks of are
//! not opened for that.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::base::disk;
use crate::base::time::Day;
use crate::model::layout::{self, Layout};

use super::index::{Entry, Index};
use super::stamp::Stamp;
use super::{DayFile, Footer, Result};

/// The day files of a recording.
#[derive(Debug)]
pub struct Catalog {
    folders: Vec<Folder>,
}

/// The day files of one event type.
#[derive(Debug)]
pub struct Folder {
    layout: Layout,
    path: PathBuf,
    index: OnceCell<Index>,
    files: Vec<Listed>,
}

/// A day file by its name.
#[derive(Debug)]
pub struct Listed {
    /// Where it stands.
    pub path: PathBuf,
    /// Its day, as its name has it.
    pub day: Day,
    about: OnceCell<(Footer, u64)>,
}

impl Catalog {
    /// Lists the folders below `data/`.
    ///
    /// # Errors
    /// When one cannot be listed.
    pub fn list(layout: &Layout) -> Result<Self> {
        let mut folders = Vec::new();
        for path in disk::list(&layout.data())?.into_iter().filter(|path| path.is_dir()) {
            let listed = |path: PathBuf| layout::day_of(&path).map(|day| Listed { path, day, about: OnceCell::new() });
            let files = disk::list(&path)?.into_iter().filter_map(listed).collect();
            folders.push(Folder { layout: layout.clone(), path, index: OnceCell::new(), files });
        }
        Ok(Self { folders })
    }

    /// The folders, by name.
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// A folder by its path.
    pub fn folder(&self, path: &Path) -> Option<&Folder> {
        self.folders.binary_search_by(|folder| folder.path.as_path().cmp(path)).ok().map(|place| &self.folders[place])
    }

    /// Every file with its folder, by folder and name.
    pub fn files(&self) -> impl Iterator<Item = (&Folder, &Listed)> {
        self.folders.iter().flat_map(|folder| folder.files.iter().map(move |file| (folder, file)))
    }
}

impl Folder {
    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files, by name.
    pub fn files(&self) -> &[Listed] {
        &self.files
    }

    /// What the index says of the day files here.
    pub fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::read(&self.layout, &self.path))
    }

    /// What the index says of a file; none where it does not know this very file.
    pub fn indexed(&self, file: &Listed) -> Option<&Entry> {
        self.index().get(file.day, file.path.symlink_metadata().ok().as_ref().and_then(Stamp::of))
    }

    /// What a file says about itself, and its size in bytes; none where it is gone.
    ///
    /// # Errors
    /// When it has to be opened and is no day file.
    pub fn about<'f>(&self, file: &'f Listed) -> Result<Option<(&'f Footer, u64)>> {
        let found = match file.about.get() {
            Some(_) => None,
            None => match self.indexed(file) {
                Some(entry) => Some((entry.footer.clone(), entry.stamp.bytes)),
                None => match DayFile::open(&file.path)? {
                    Some(open) => Some((open.footer().clone(), open.bytes())),
                    None => return Ok(None),
                },
            },
        };
        if let Some(found) = found {
            file.about.get_or_init(|| found);
        }
        Ok(file.about.get().map(|(footer, bytes)| (footer, *bytes)))
    }
}
