//! `holdfast top`: asks the proxy once a second, and keeps the screen up to date until a key or a signal ends it.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{Failure, admin::Admin, args::TopArgs, signals::Signals, told};
use crate::{
    milliseconds::unix_ms,
    top::{self, Model, News, Screen, Wanted},
};

/// How often the proxy is asked, and the screen drawn without any news.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Keys that wait while the screen is drawn; whoever types more waits.
const KEYS_MAX: usize = 64;

pub(super) fn run(args: &TopArgs, out: &mut impl Write) -> Result<(), Failure> {
    if args.once {
        return super::on_runtime(once(args, out));
    }
    if !io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "stdout is no terminal\n`holdfast status --json` tells the same to scripts, `holdfast top --once` \
             prints it once as text."
                .to_owned(),
        ));
    }
    super::on_runtime(watch(args))
}

async fn once(args: &TopArgs, out: &mut impl Write) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin)?;
    let mut model = Model::new(admin.place());
    model.hear(Ok(ask(&admin, "").await?), now_ms());
    told(write!(out, "{}", top::plain(&model, now_ms())));
    Ok(())
}

async fn watch(args: &TopArgs) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let admin = Admin::new(&args.admin)?;
    let mut model = Model::new(admin.place());
    let (search, searched) = watch::channel(String::new());
    let (heard, mut answers) = mpsc::channel(1);
    let mut screen = Screen::take()
        .map_err(|error| Failure::Unavailable(format!("this terminal cannot be used: {error}")))?;
    let mut events = events()?;
    tokio::spawn(ask_for_ever(admin, searched, heard));
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let drawn = screen.draw(|frame| top::draw(&model, now_ms(), frame.area(), frame.buffer_mut()));
        // Nobody looks any more.
        if drawn.is_err() {
            return Ok(());
        }
        tokio::select! {
            _ = signals.next() => return Ok(()),
            _ = ticks.tick() => {}
            answer = answers.recv() => match answer {
                Some(answer) => model.hear(answer, now_ms()),
                None => return Err(Failure::Internal("nobody asks the proxy any more".to_owned())),
            },
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => match model.press(key) {
                    Wanted::End => return Ok(()),
                    Wanted::Sessions(text) => drop(search.send_replace(text)),
                    Wanted::Nothing => {}
                },
                // A new size, which the next picture has.
                Some(_) => {}
                None => return Err(Failure::Unavailable("the keyboard is gone".to_owned())),
            },
        }
    }
}

/// What is typed, read by a thread of its own: the terminal lets nobody wait for it in another way.
fn events() -> Result<mpsc::Receiver<Event>, Failure> {
    let (typed, events) = mpsc::channel(KEYS_MAX);
    let read = move || {
        while let Ok(event) = event::read() {
            if typed.blocking_send(event).is_err() {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("keyboard".to_owned()).spawn(read);
    started.map_err(|error| Failure::Internal(format!("cannot start a thread: {error}")))?;
    Ok(events)
}

/// Asks every second, and at once where something else is looked for.
async fn ask_for_ever(
    admin: Admin,
    mut search: watch::Receiver<String>,
    heard: mpsc::Sender<Result<News, String>>,
) {
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = search.changed() => if changed.is_err() { return },
        }
        let text = search.borrow_and_update().clone();
        let answer = ask(&admin, &text).await.map_err(|failure| failure.to_string());
        if heard.send(answer).await.is_err() {
            return;
        }
    }
}

/// All that is shown. Only a proxy that tells no status is away: whatever else it does not tell is missing.
async fn ask(admin: &Admin, search: &str) -> Result<News, Failure> {
    let status = get(admin, "/status?sessions=0").await?;
    let mut news = News::new(status).map_err(|why| {
        Failure::Unavailable(format!(
            "{} tells no status: {}",
            admin.place(),
            crate::telemetry::events::clean(&why)
        ))
    })?;
    let words = |answer: Result<Value, Failure>| answer.map_err(|failure| failure.to_string());
    news.add_nodes(words(get(admin, "/v1/nodes").await));
    news.add_outages(words(get(admin, "/v1/outages").await));
    for in_outage in [true, false] {
        let path = top::sessions_path(search, &news.nodes, in_outage);
        news.add_sessions(words(get(admin, &path).await));
    }
    Ok(news)
}

async fn get(admin: &Admin, path: &str) -> Result<Value, Failure> {
    admin.get_within(path, ANSWER_BYTES_MAX).await
}

fn now_ms() -> u64 {
    unix_ms(Duration::ZERO)
}
