//! Each part of the picture, drawn to a backend that keeps it.

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent},
    style::{Color, Modifier},
};
use serde_json::{Value, json};

use super::*;
use crate::top::News;

const NOW_MS: u64 = 1_800_000_000_000;

fn drawn(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, NOW_MS, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    lines(&drawn(model, width, height)).join("\n")
}

/// The row of a picture that has this in it.
fn row(picture: &str, part: &str) -> String {
    picture
        .lines()
        .find(|line| line.contains(part))
        .unwrap_or_else(|| panic!("no `{part}` in\n{picture}"))
        .to_owned()
}

fn status() -> Value {
    json!({
        "version": "1.2.3", "uptime_s": 7_300, "sessions": 1_234, "streams": 2_345, "outages": 3,
        "places_taken": 1_240, "places": 10_000,
        "memory": {"bytes": 52 * 1024 * 1024, "bytes_max": 3_000_u64 * 1024 * 1024},
    })
}

fn model_of(status: Value, nodes: Value, outages: Value, sessions: Value) -> Model {
    let mut news = News::new(status).unwrap();
    news.add_nodes(Ok(json!({ "nodes": nodes })));
    news.add_outages(Ok(json!({ "outages": outages })));
    news.add_sessions(Ok(json!({ "sessions": sessions })));
    let mut model = Model::new("127.0.0.1:8089".to_owned());
    model.hear(Ok(news), NOW_MS);
    model
}

fn model() -> Model {
    model_of(
        status(),
        json!([
            {"name": "a", "state": "draining", "reason": "an operator wants it", "for_ms": 12_000, "sessions": 566,
             "figures": {"load_average": 1.25}, "dials": {"p99_ms": 12.4},
             "drain": {"stage": "moving", "sessions": 600, "remaining": 300, "rate": 20.2, "remaining_s": 15}},
            {"name": "b", "state": "down", "reason": "connection refused", "for_ms": 3_200, "pool": "edge",
             "figures": {"connections": 7.0}, "backup": true, "dials": {"p99_ms": 3.07},
             "drain": {"stage": "done", "sessions": 1}},
        ]),
        json!([
            {"node": "b", "began_unix_ms": NOW_MS - 70_000, "cause": "end of file", "lasted_ms": 2_150,
             "sessions": 1_000, "sessions_restored": 998, "sessions_given_up": 2, "gap_p99_ms": 2_700},
        ]),
        json!([
            {"id": "s1", "state": "up", "node": "a", "client": "192.0.2.7", "streams": [
                {"kind": "play", "name": "cam1", "state": "live", "media": "anchored",
                 "numbers": {"client": {"bitrate_received": 2_500_000}, "gaps_ms": [1_250]}},
                {"kind": "publish", "name": "cam2", "state": "retry", "media": "direct"},
            ]},
            {"id": "s2", "state": "waiting", "outage_ms": 4_200, "node": "b"},
        ]),
    )
}

fn press(model: &mut Model, keys: &[KeyCode]) {
    for key in keys {
        model.press(KeyEvent::from(*key));
    }
}

#[test]
fn the_header_says_which_proxy_this_is_and_what_it_has() {
    let picture = screen(&model(), 80, 24);
    let mut rows = picture.lines();
    assert_eq!(
        rows.next(),
        Some(" holdfast 1.2.3 · up 2 h · 127.0.0.1:8089                          08:00:00 UTC")
    );
    assert_eq!(rows.next(), Some(" 1,234 sessions  3 in outage  2,345 streams  memory 52 of 3,000 MiB"));
    let buffer = drawn(&model(), 80, 24);
    assert_eq!(buffer[(18, 1)].fg, Color::Red, "an outage is seen from afar");
    let healthy = model_of(json!({"outages": 0, "sessions": 1}), json!([]), json!([]), json!([]));
    assert!(row(&screen(&healthy, 80, 24), "0 in outage").starts_with(" 1 session  0 in outage"));
}

#[test]
fn trouble_of_the_proxy_itself_is_in_the_header() {
    let trouble = json!({
        "handshakes_held": 7, "log_lines_dropped": 9, "memory": {"is_short": true},
        "media": {"workers": 2, "workers_alive": 1, "worker_restarts": 0},
    });
    let picture = screen(&model_of(trouble, json!([]), json!([]), json!([])), 160, 24);
    for part in ["7 held", "media 1 of 2 workers", "9 log lines dropped"] {
        row(&picture, part);
    }
}

#[test]
fn nodes_have_state_reason_load_dials_and_how_far_a_drain_is() {
    let picture = screen(&model(), 110, 24);
    row(&picture, "Nodes, 0 of 2 up");
    let cells = |name| row(&picture, name).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(cells(" a "), "a draining 12 s 566 1.25 12 ms ███░░░ 300 of 600, 15 s left, 20/s");
    assert_eq!(cells(" edge/b"), "edge/b down 3.2 s 0 7 3.1 ms backup · connection refused");
    let waiting = json!([{"name": "a", "state": "draining", "drain": {
        "stage": "waiting", "sessions": 10, "remaining": 2, "left": [{"reason": "a call", "sessions": 2}]}}]);
    let picture = screen(&model_of(status(), waiting, json!([]), json!([])), 110, 24);
    row(&picture, "████░░ 8 of 10, waits for 2 (a call)");
}

#[test]
fn outages_that_are_over_say_what_came_of_them() {
    let picture = screen(&model(), 110, 24);
    let cells = row(&picture, "end of file").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(cells, "70 s b 2.1 s 1,000 998 2 2.7 s end of file");
    let without = model_of(status(), json!([]), json!([]), json!([]));
    assert!(!screen(&without, 110, 24).contains("Last outages"), "no room is lost for none");
}

#[test]
fn the_worst_session_is_on_top_and_its_trouble_first() {
    let picture = screen(&model(), 110, 24);
    let rows: Vec<&str> =
        picture.lines().filter(|line| line.contains(" s1 ") || line.contains(" s2 ")).collect();
    assert!(rows[0].starts_with(" s2       waiting      4.2 s b"), "{rows:?}");
    assert!(rows[1].contains("192.0.2.7       publish cam2: retry, direct · play cam1: live, 2"), "{rows:?}");
    let wide = screen(&model(), 140, 24);
    row(&wide, "play cam1: live, 2.50 Mbit/s, gap 1.2 s");
}

#[test]
fn the_past_is_a_line_in_which_absence_shows() {
    let mut model = model();
    assert!(!screen(&model, 80, 24).contains("at most"), "one number is no past");
    for (second, outages) in [0, 4, 8].into_iter().enumerate() {
        let at = NOW_MS + 1_000 * (second as u64 + 1);
        model.hear(Ok(News::new(json!({ "outages": outages })).unwrap()), at);
    }
    model.hear(Err("refused".to_owned()), NOW_MS + 4_000);
    let picture = screen(&model, 80, 24);
    assert_eq!(row(&picture, "at most"), " in outage  ▃ ▄█· 8 at most in 5 s");
    assert!(!screen(&model, 80, 12).contains("at most"), "a low screen has no room for it");
}

#[test]
fn a_proxy_that_is_away_is_told_and_its_last_answer_dimmed() {
    let mut model = model();
    let why = "no answer from 127.0.0.1:8089: refused\nIs it running?";
    model.hear(Err(why.to_owned()), NOW_MS - 65_000);
    let picture = screen(&model, 80, 24);
    let since = row(&picture, "AWAY");
    assert_eq!(since, " AWAY for 65 s, since 07:58:55 UTC: refused");
    row(&picture, "draining");
    let buffer = drawn(&model, 80, 24);
    assert!(buffer[(1, 6)].modifier.contains(Modifier::DIM));
    let news = News::new(status()).unwrap();
    model.hear(Ok(news), NOW_MS - 5_000);
    let picture = screen(&model, 80, 24);
    assert!(!picture.contains("AWAY"), "{picture}");
    row(&picture, "was away 60 s until 07:59:55");
    let mut nothing = Model::new("127.0.0.1:1".to_owned());
    row(&screen(&nothing, 80, 24), "It is being asked.");
    nothing.hear(Err("refused".to_owned()), NOW_MS);
    row(&screen(&nothing, 80, 24), "It is asked again every second.");
}

#[test]
fn what_could_not_be_asked_is_in_the_last_line() {
    let mut news = News::new(status()).unwrap();
    news.add_nodes(Err("length limit exceeded".to_owned()));
    let mut model = Model::new(String::new());
    model.hear(Ok(news), NOW_MS);
    assert_eq!(screen(&model, 80, 24).lines().last(), Some(" no nodes: length limit exceeded"));
}

#[test]
fn keys_help_and_search_have_their_places() {
    let mut model = model();
    assert_eq!(screen(&model, 80, 24).lines().last(), Some(" q end  tab panel  ↑↓ move  / search  ? help"));
    press(&mut model, &[KeyCode::Char('?')]);
    let help = screen(&model, 80, 24);
    row(&help, "holdfast drain, undrain");
    assert!(!help.contains("draining"), "{help}");
    press(&mut model, &[KeyCode::Esc, KeyCode::Char('/'), KeyCode::Char('c'), KeyCode::Char('?')]);
    assert_eq!(screen(&model, 80, 24).lines().last(), Some(" /c?▏"));
    press(&mut model, &[KeyCode::Enter]);
    row(&screen(&model, 80, 24), "Sessions with `c?`, the worst first, 2 shown");
}

#[test]
fn the_chosen_row_is_marked_in_the_panel_with_the_keys_alone() {
    let mut model = model();
    let marked = |model: &Model| {
        let buffer = drawn(model, 80, 24);
        let rows = buffer.content().chunks(80).zip(lines(&buffer));
        rows.filter(|(cells, _)| cells[2].modifier.contains(Modifier::REVERSED))
            .map(|(_, text)| text)
            .collect::<Vec<_>>()
    };
    press(&mut model, &[KeyCode::Down]);
    let rows = marked(&model);
    assert!(rows.len() == 1 && rows[0].starts_with(" s1 "), "{rows:?}");
    press(&mut model, &[KeyCode::Tab]);
    let rows = marked(&model);
    assert!(rows.len() == 1 && rows[0].starts_with(" a "), "{rows:?}");
}

/// A proxy whose names all come from an enemy.
fn hostile() -> Model {
    let name =
        "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}\u{9b}31m映像\u{200b}".to_owned() + &"長".repeat(90_000);
    let stream = json!({"kind": name, "name": name, "state": name, "media": name});
    model_of(
        json!({"version": name, "sessions": usize::MAX, "streams": u64::MAX, "outages": usize::MAX,
               "uptime_s": u64::MAX, "places": usize::MAX}),
        json!([{"name": name, "pool": name, "state": name, "reason": name, "for_ms": u64::MAX, "sessions": usize::MAX,
                "figures": {"load_average": 1e300}, "dials": {"p99_ms": 1e300},
                "drain": {"stage": "waiting", "sessions": 1, "remaining": usize::MAX,
                          "left": [{"reason": name, "sessions": usize::MAX}]}}]),
        json!([{"node": name, "cause": name, "lasted_ms": u64::MAX, "sessions_given_up": u64::MAX,
                "rooms_lost": u64::MAX, "began_unix_ms": u64::MAX}]),
        json!([{"id": name, "state": name, "node": name, "outage_ms": u64::MAX, "streams": [stream, stream]}]),
    )
}

#[test]
fn hostile_names_stay_in_their_cells() {
    for (width, height) in [(80, 24), (110, 40), (200, 60)] {
        let buffer = drawn(&hostile(), width, height);
        for cell in buffer.content() {
            let is_harmless = |c: char| !c.is_control() && !['\u{200b}', '\u{202e}'].contains(&c);
            assert!(cell.symbol().chars().all(is_harmless), "{:?}", cell.symbol());
        }
        for line in lines(&buffer) {
            let columns = unicode_width::UnicodeWidthStr::width(&*line);
            assert!(columns <= usize::from(width), "{columns} of {width}: {line}");
        }
        let picture = lines(&buffer).join("\n");
        assert!(picture.contains("Nodes, 0 of 1 up") && picture.contains("Last outages, 1"), "{picture}");
        assert!(picture.contains('…'), "cut, and seen to be\n{picture}");
    }
    assert!(plain(&hostile(), NOW_MS).len() < 20_000);
}

#[test]
fn every_size_is_drawn_and_the_sessions_are_the_last_to_go() {
    let mut away = model();
    away.hear(Err("away".to_owned()), NOW_MS);
    let mut help = model();
    press(&mut help, &[KeyCode::Char('?')]);
    for model in [model(), hostile(), away, help, Model::default()] {
        for width in (0..32).chain([40, 79, 80, 200]) {
            for height in 0..32 {
                let area = Rect::new(0, 0, width, height);
                draw(&model, NOW_MS, area, &mut Buffer::empty(area));
            }
        }
    }
    let mut model = model();
    let low = screen(&model, 40, 8);
    assert!(low.contains("s2       waiting") && !low.contains("Nodes"), "{low}");
    press(&mut model, &[KeyCode::Tab]);
    let low = screen(&model, 40, 8);
    assert!(low.contains("draining") && !low.contains("waiting"), "the keys' panel: {low}");
}

#[test]
fn many_nodes_and_outages_leave_room_for_sessions() {
    let nodes: Vec<Value> = (0..60).map(|n| json!({"name": format!("n{n}"), "state": "up"})).collect();
    let outages: Vec<Value> = (0..100).map(|n| json!({"node": format!("o{n}")})).collect();
    let sessions: Vec<Value> = (0..200).map(|n| json!({"id": format!("s{n}"), "state": "up"})).collect();
    let model = model_of(status(), json!(nodes), json!(outages), json!(sessions));
    for height in [24, 40, 60] {
        let picture = screen(&model, 80, height);
        for part in ["Nodes, 60", " n0 ", "Last outages, 100", " o0 ", "Sessions", " s0 ", " s2 "] {
            row(&picture, part);
        }
    }
}

#[test]
fn plain_text_has_all_of_it_and_nothing_of_a_screen() {
    let text = plain(&model(), NOW_MS);
    for part in ["holdfast 1.2.3", "Nodes, 0 of 2 up", "300 of 600", "end of file", " s2 "] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(
        !text.contains('\u{1b}')
            && !text.contains("q end")
            && text.ends_with('\n')
            && !text.ends_with("\n\n")
    );
}
