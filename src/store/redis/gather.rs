//! Gathers what concurrent callers ask for into one call.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::{mpsc, oneshot};

use super::call::is_answer;
use super::keys::Partition;
use super::link::{Call, Link, missing, read};
use crate::store::{Result, StoreError};

/// A call of so many items takes no more, and a caller hands in no more at once.
const ITEMS_MAX: usize = 1_000;
/// The rows that fill one script call.
const ROWS_MAX: usize = 500;
/// How many callers may wait.
const WAITING_MAX: usize = 10_000;

struct Asked<I, O> {
    items: Vec<I>,
    reply: oneshot::Sender<Vec<Result<O>>>,
}

/// A task that takes what has gathered while it was busy, and answers each caller.
pub(super) struct Gather<I, O> {
    queue: mpsc::Sender<Asked<I, O>>,
}

impl<I: Send + 'static, O: Clone + Send + 'static> Gather<I, O> {
    /// Starts the task; it ends with the last caller. `run` answers each item, in order.
    pub(super) fn start<R, F>(run: R) -> Self
    where
        R: Fn(Vec<I>) -> F + Send + 'static,
        F: Future<Output = Vec<Result<O>>> + Send,
    {
        let (queue, mut asked) = mpsc::channel::<Asked<I, O>>(WAITING_MAX);
        tokio::spawn(async move {
            let mut next = asked.recv().await;
            while next.is_some() {
                let (mut gathered, mut replies) = (Vec::new(), Vec::new());
                while let Some(Asked { items, reply }) = next.take() {
                    replies.push((items.len(), reply));
                    gathered.extend(items);
                    if gathered.len() < ITEMS_MAX {
                        next = asked.try_recv().ok();
                    }
                }
                let mut answers = run(gathered).await.into_iter();
                for (len, reply) in replies {
                    // A caller that has gone does not want it; what was committed stays.
                    let _ = reply.send(answers.by_ref().take(len).collect());
                }
                next = asked.recv().await;
            }
        });
        Self { queue }
    }

    /// Hands in items, and waits for the answer of each.
    pub(super) async fn call(&self, items: Vec<I>) -> Vec<Result<O>> {
        let mut answers = Vec::with_capacity(items.len());
        let mut waiting = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let items: Vec<I> = items.by_ref().take(ITEMS_MAX).collect();
            let (len, (reply, answer)) = (items.len(), oneshot::channel());
            // When the task has gone, the answer's other end goes with what could not be sent.
            let _ = self.queue.send(Asked { items, reply }).await;
            waiting.push((len, answer));
        }
        for (len, answer) in waiting {
            let gone = |_| vec![Err(StoreError::Unavailable("shutting down".into())); len];
            answers.extend(answer.await.unwrap_or_else(gone));
        }
        answers
    }
}

/// How items become script calls.
pub(super) struct Shape<I> {
    pub(super) partition: fn(&I) -> Partition,
    pub(super) rows: fn(&I) -> usize,
}

/// Runs a script over items, one call for so many rows of a partition, all in one pipeline. The items of a call that
/// fails are tried one by one, so that one of them cannot fail the others.
pub(super) async fn run_gathered<I>(
    link: &Link,
    items: &[I],
    shape: &Shape<I>,
    call: impl Fn(Partition, &[&I]) -> Call,
) -> Vec<Result<i64>> {
    let batches = batches(items, shape);
    let mut answers: Vec<Result<i64>> = items.iter().map(|_| Err(missing())).collect();
    let again = run_batches(link, items, &batches, &call, &mut answers).await;
    run_batches(link, items, &again, &call, &mut answers).await;
    answers
}

type Batch = (Partition, Vec<usize>);

fn batches<I>(items: &[I], shape: &Shape<I>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut open: HashMap<u16, (usize, usize)> = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        let partition = (shape.partition)(item);
        let rows = (shape.rows)(item).max(1);
        match open.get_mut(&partition.0) {
            Some((batch, filled)) if *filled + rows <= ROWS_MAX => {
                *filled += rows;
                if let Some((_, places)) = batches.get_mut(*batch) {
                    places.push(place);
                }
            }
            _ => {
                open.insert(partition.0, (batches.len(), rows));
                batches.push((partition, vec![place]));
            }
        }
    }
    batches
}

/// Answers which items are to be tried one by one.
async fn run_batches<I>(
    link: &Link,
    items: &[I],
    batches: &[Batch],
    call: &impl Fn(Partition, &[&I]) -> Call,
    answers: &mut [Result<i64>],
) -> Vec<Batch> {
    let calls: Vec<Call> = batches
        .iter()
        .map(|(partition, places)| {
            let chosen: Vec<&I> = places.iter().filter_map(|place| items.get(*place)).collect();
            call(*partition, &chosen)
        })
        .collect();
    let results = match link.run(calls).await {
        Ok(results) => results,
        Err(error) => {
            for place in batches.iter().flat_map(|(_, places)| places) {
                set(answers, *place, Err(error.clone()));
            }
            return Vec::new();
        }
    };
    let mut again = Vec::new();
    for ((partition, places), result) in batches.iter().zip(results) {
        match result.and_then(read::<Vec<i64>>) {
            Ok(values) => {
                for (place, value) in places.iter().zip(values) {
                    set(answers, *place, Ok(value));
                }
            }
            Err(error) => {
                for place in places {
                    set(answers, *place, Err(error.clone()));
                }
                if places.len() > 1 && is_answer(&error) {
                    again.extend(places.iter().map(|place| (*partition, vec![*place])));
                }
            }
        }
    }
    again
}

fn set(answers: &mut [Result<i64>], place: usize, answer: Result<i64>) {
    if let Some(slot) = answers.get_mut(place) {
        *slot = answer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_whole_items_until_their_rows_reach_the_limit() {
        let shape = Shape { partition: |item: &(u16, usize)| Partition(item.0), rows: |item| item.1 };
        let items = [(1, 300), (2, 1), (1, 200), (1, 1), (2, 900), (2, 0)];
        let places: Vec<_> = batches(&items, &shape).into_iter().map(|(at, places)| (at.0, places)).collect();
        assert_eq!(places, [(1, vec![0, 2]), (2, vec![1]), (1, vec![3]), (2, vec![4]), (2, vec![5])]);
    }

    #[tokio::test]
    async fn each_caller_gets_its_own_answers() {
        let gather: Gather<u32, u32> =
            Gather::start(|items| async move { items.into_iter().map(|item| Ok(item * 2)).collect() });
        let (one, two) = tokio::join!(gather.call(vec![1, 2]), gather.call(vec![3]));
        assert_eq!(one.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(two.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [6]);
    }
}
