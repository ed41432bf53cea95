//! Statuses, and what an answer tells.

use actix_web::body::to_bytes;

use super::*;

fn not_proven(refusal: Refusal) -> Problem {
    Problem::NotProven { error: VerifyError::Mismatch, refusal }
}

#[test]
fn what_can_be_tried_again_is_told_apart_from_what_cannot() {
    let statuses = [
        (Problem::UnknownSource, 404),
        (Problem::UnknownSource.again(), 503),
        (Problem::BodyTooLarge(1).again(), 503),
        (Problem::ReadFailed, 500),
        (Problem::ReadFailed.again(), 503),
        (not_proven(Refusal::Retryable).again(), 503),
        (not_proven(Refusal::Final).again(), 406),
        (Problem::Forged.again(), 406),
        (not_proven(Refusal::Retryable), 401),
        (not_proven(Refusal::Unavailable), 503),
        (not_proven(Refusal::Final), 406),
        (Problem::Forged, 406),
        (Problem::BodyTooLarge(1), 413),
        (Problem::BodyTooSlow, 408),
        (Problem::BodyBroken, 400),
        (Problem::Overloaded, 503),
        (Problem::BodiesOverBudget, 503),
        (Problem::Store(StoreError::Corrupt("row".into())), 503),
        (Problem::Store(StoreError::Refused("setting".into())), 503),
        (Problem::Store(StoreError::BadCursor), 400),
        (Problem::Forbidden(Scope::Admin), 403),
        (Problem::ManagedByFile, 409),
        (Problem::NoMasterKey, 409),
        (Problem::TooManyWrongKeys(Duration::from_millis(2_500)), 429),
        (FieldError::new("url", "is wrong", "correct it").into(), 422),
    ];
    for (problem, status) in statuses {
        let answer = problem.plain();
        assert_eq!(answer.status().as_u16(), status, "{problem}");
        assert_eq!(answer.headers().contains_key("retry-after"), matches!(status, 429 | 503), "{problem}");
    }
}

#[actix_web::test]
async fn an_answer_never_tells_what_the_store_said() {
    let problem = Problem::Store(StoreError::Unavailable("redis://10.0.0.7".into()));
    for answer in [problem.error_response(), problem.plain()] {
        let body = to_bytes(answer.into_body()).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("10.0.0.7"));
    }
}

#[actix_web::test]
async fn the_api_answers_problem_json() {
    let answer = Problem::NotFound("event").error_response();
    assert_eq!(answer.headers().get("content-type").unwrap(), "application/problem+json");
    let body: serde_json::Value = serde_json::from_slice(&to_bytes(answer.into_body()).await.unwrap()).unwrap();
    let expected = json!({"type": "urn:waypost:problem:not_found", "title": "There is no such thing",
        "status": 404, "detail": "no such event"});
    assert_eq!(body, expected);
}
