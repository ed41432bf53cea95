//! Merges what was written in bulk, on a thread of its own, so that the next bulk need not wait for it.

use super::background::Task;
use super::ids::{Ids, Kind};
use super::tree::{Tree, Trees, tree};
use crate::store::Result;

/// With so many files of a tree that are not yet merged, they are, with those that were; of events, requests, fingerprints
/// and words. The more, the less often an id is written, and the longer one that is known is looked for. They differ so
/// that not all are merged at once. Without optimization few, so that tests come by here.
const MERGED_LENS: [u8; Kind::COUNT + 1] = if cfg!(debug_assertions) { [4, 5, 6, 7] } else { [32, 40, 48, 96] };

/// What is done to the trees in the background. Dropped, it is left.
pub(super) struct Merge {
    trees: Trees,
    task: Option<(Task<Result<()>>, Work)>,
    due: Option<Work>,
}

/// What is done to them.
#[derive(Clone, Copy)]
enum Work {
    FillFilters,
    Merge,
    /// All is written without what is dead; so much of that was counted.
    WriteAnew(u64),
}

impl Merge {
    /// Begins with the filters of trees that were just opened: until they are filled, it takes long to tell what is new.
    pub(super) fn open(trees: &Trees) -> Result<Self> {
        let mut merge = Self { trees: trees.clone(), task: None, due: None };
        merge.begin(Work::FillFilters)?;
        Ok(merge)
    }

    /// To be called when there is more to be merged, or so many were counted dead that it pays to leave them out.
    pub(super) fn add(&mut self, dead: Option<u64>) {
        self.due = dead.map(Work::WriteAnew).or(self.due).or(Some(Work::Merge));
    }

    /// Whether what is dead is left out, now or soon.
    pub(super) fn is_to_write_anew(&self) -> bool {
        let running = self.task.as_ref().map(|(_, work)| work);
        running.into_iter().chain(&self.due).any(|work| matches!(work, Work::WriteAnew(_)))
    }

    /// Begins what is due.
    ///
    /// # Errors
    /// What was met since the last call: the trees are to be opened again.
    pub(super) fn step(&mut self, ids: &Ids) -> Result<()> {
        if let Some((task, work)) = self.task.take_if(|(task, _)| task.is_finished()) {
            task.join()??;
            if let Work::WriteAnew(count) = work {
                ids.left_out(count);
            }
        }
        match self.due.take_if(|_| self.task.is_none()) {
            Some(work) => self.begin(work),
            None => Ok(()),
        }
    }

    fn begin(&mut self, work: Work) -> Result<()> {
        let trees = self.trees.clone();
        let is_pressing = matches!(work, Work::FillFilters) || !trees.has_room();
        let begin = if is_pressing { Task::begin_pressing } else { Task::begin };
        self.task = Some((begin("store-merge", move |_| work.run(&trees).map_err(tree))?, work));
        Ok(())
    }
}

impl Work {
    fn run(self, trees: &Trees) -> lsm_tree::Result<()> {
        match self {
            Self::FillFilters => trees.fill_filters(),
            Self::Merge => trees.all().zip(MERGED_LENS).try_for_each(|(tree, len)| tree.merge(len))?,
            Self::WriteAnew(_) => {
                trees.all().try_for_each(Tree::write_anew)?;
                trees.filter_anew();
            }
        }
        Ok(())
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.trees.stop();
    }
}
