//! `docs/examples/suppression_flag.py` does what it says, whatever is killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::gateway::{API_KEY, Gateway, Poster};
use crate::hooks::until;
use crate::signal::kill;
use crate::tidy::root;

const CUSTOMERS: u32 = 60;

fn python(code: &str, database: &Path) -> String {
    let output = Command::new("python3").args(["-c", code]).arg(database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn example(gateway: &Gateway, database: &Path) -> Option<Child> {
    let mut command = Command::new("python3");
    command.arg(root().join("docs/examples/suppression_flag.py")).stdout(Stdio::null()).stderr(Stdio::inherit());
    let url = format!("http://{}", gateway.address());
    let variables =
        [("WAYPOST_URL", url.as_str()), ("WAYPOST_API_KEY", API_KEY), ("DATABASE", database.to_str().unwrap())];
    Some(command.envs(variables).spawn().unwrap())
}

/// Which customers are not to be mailed, by their numbers.
fn flagged(database: &Path) -> Vec<u32> {
    let code = "import sqlite3,sys\n\
        d=sqlite3.connect(sys.argv[1],timeout=20)\n\
        print(*[r[0] for r in d.execute('SELECT number FROM customers WHERE do_not_mail ORDER BY number')])";
    python(code, database).split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suppression_flag_is_kept_in_step() {
    if Command::new("python3").args(["-c", "import sqlite3"]).output().is_err() {
        assert!(std::env::var("WAYPOST_REQUIRE_PYTHON").as_deref() != Ok("1"), "there is no python3");
        eprintln!("not checked: there is no python3");
        return;
    }
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("customers.sqlite");
    let code = format!(
        "import sqlite3,sys\nd=sqlite3.connect(sys.argv[1])\n\
         d.execute('CREATE TABLE customers (number INTEGER, email TEXT, do_not_mail BOOLEAN DEFAULT FALSE)')\n\
         d.executemany('INSERT INTO customers (number,email) VALUES (?,?)',[(n,f'N{{n}}@Customer.example') for n in range({CUSTOMERS})])\n\
         d.commit()"
    );
    python(&code, &database);
    let poster = Poster::new();
    let mut process = example(&gateway, &database);
    let mut expected = Vec::new();
    for number in 0..CUSTOMERS {
        let kind = ["email.complained", "email.delivered", "email.opened"][usize::try_from(number % 3).unwrap()];
        let (_, signed) = poster.resend_event_of(number, number, kind);
        assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
        expected.extend((number % 3 == 0).then_some(number));
        if number == 20 {
            kill(&mut process);
            process = example(&gateway, &database);
        }
        if number == 40 {
            gateway.down();
            gateway.up(None);
            gateway.until_alive().await;
        }
    }
    until(Duration::from_secs(30), "all are flagged", || flagged(&database) == expected).await;
    kill(&mut process);
}
