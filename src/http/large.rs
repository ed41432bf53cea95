//! One thread that reads large mails, one after the other: each takes as much memory again as it has itself, and an
//! allocator keeps what a thread gave back a while for that thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};

use tokio::sync::oneshot;

use super::problem::Problem;

type Job = Box<dyn FnOnce() + Send>;

/// The way to it. The thread ends with this.
#[derive(Debug)]
pub(super) struct LargeMails(Sender<Job>);

impl LargeMails {
    pub(super) fn start() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("large-mails".into());
        // Without it every job fails, and is told.
        let _ = thread.spawn(move || queue.into_iter().for_each(|job| drop(catch_unwind(AssertUnwindSafe(job)))));
        Self(jobs)
    }

    /// Does this when all before it is done, unless nobody waits for it any more.
    ///
    /// # Errors
    /// Its own, and [`Problem::ReadFailed`] when it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let job = move || {
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        self.0.send(Box::new(job)).map_err(|_| Problem::ReadFailed)?;
        answer.await.unwrap_or(Err(Problem::ReadFailed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_panics_fails_alone() {
        let mails = LargeMails::start();
        let failed = mails.run(|| -> Result<(), _> { panic!("as asked") });
        let (failed, refused, done) = tokio::join!(
            failed,
            mails.run(|| Err::<(), _>(Problem::Forged)),
            mails.run(|| Ok(std::thread::current().name().map(str::to_owned)))
        );
        assert!(matches!(failed, Err(Problem::ReadFailed)));
        assert!(matches!(refused, Err(Problem::Forged)));
        assert_eq!(done.unwrap().as_deref(), Some("large-mails"));
    }
}
