//! What the screen shows: what was heard of the proxy, and what was typed. Knows no IO and no clock: time comes in as
//! milliseconds since 1970.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::News;

/// Numbers of sessions in an outage that are kept, one a second.
const HISTORY_MAX: usize = 600;
/// A further one within this time of the last is not kept.
const HISTORY_STEP_MS: u64 = 900;
/// Longest text that is looked for, in characters.
const SEARCH_CHARS_MAX: usize = 64;
/// Rows that a page goes.
const PAGE_ROWS: usize = 10;

/// A part of the screen with rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Panel {
    Nodes,
    Outages,
    #[default]
    Sessions,
}

impl Panel {
    const ALL: [Self; 3] = [Self::Nodes, Self::Outages, Self::Sessions];

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|panel| *panel == self).unwrap_or_default();
        Self::ALL.get((at + by) % Self::ALL.len()).copied().unwrap_or_default()
    }
}

/// What keys mean now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Look,
    Help,
    /// A text to look for is being typed.
    Search,
}

/// What a key asks of whoever runs the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    End,
    /// Sessions that match this, from now on.
    Sessions(String),
}

/// A time in which the proxy did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Away {
    pub(crate) since_ms: u64,
    /// None: it lasts.
    pub(crate) until_ms: Option<u64>,
    pub(crate) why: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) place: String,
    /// The last answer; it stays while the proxy is away.
    pub(crate) news: Option<News>,
    pub(crate) away: Option<Away>,
    /// Sessions in an outage, the newest last; none where nobody answered.
    pub(crate) history: VecDeque<Option<u64>>,
    history_at_ms: Option<u64>,
    pub(crate) mode: Mode,
    pub(crate) panel: Panel,
    chosen: [usize; Panel::ALL.len()],
    /// What is looked for.
    pub(crate) search: String,
    /// What is being typed.
    pub(crate) typed: String,
}

impl Model {
    pub(crate) fn new(place: String) -> Self {
        Self { place, ..Self::default() }
    }

    /// An answer, or why there is none.
    pub(crate) fn hear(&mut self, answer: Result<News, String>, now_ms: u64) {
        let in_outage = answer.as_ref().ok().map(|news| news.status.outages.try_into().unwrap_or(u64::MAX));
        match answer {
            Ok(news) => {
                self.news = Some(news);
                if let Some(away) = self.away.as_mut() {
                    away.until_ms.get_or_insert(now_ms);
                }
            }
            Err(why) => match self.away.as_mut().filter(|away| away.until_ms.is_none()) {
                Some(away) => away.why = why,
                None => self.away = Some(Away { since_ms: now_ms, until_ms: None, why }),
            },
        }
        self.remember(in_outage, now_ms);
    }

    fn remember(&mut self, in_outage: Option<u64>, now_ms: u64) {
        if self.history_at_ms.is_some_and(|at| now_ms.abs_diff(at) < HISTORY_STEP_MS) {
            return;
        }
        self.history_at_ms = Some(now_ms);
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(in_outage);
    }

    /// Since when the proxy is away, if it is.
    pub(crate) fn away(&self) -> Option<&Away> {
        self.away.as_ref().filter(|away| away.until_ms.is_none())
    }

    /// Which row of a panel is chosen.
    pub(crate) fn chosen(&self, panel: Panel) -> usize {
        let chosen = self.chosen.get(panel as usize).copied().unwrap_or_default();
        // There may be fewer than there were.
        chosen.min(self.rows(panel).saturating_sub(1))
    }

    fn rows(&self, panel: Panel) -> usize {
        self.news.as_ref().map_or(0, |news| match panel {
            Panel::Nodes => news.nodes.len(),
            Panel::Outages => news.outages.len(),
            Panel::Sessions => news.sessions.len(),
        })
    }

    /// A key was pressed.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Wanted {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wanted::End } else { Wanted::Nothing };
        }
        match self.mode {
            Mode::Look => self.look(key.code),
            Mode::Search => self.edit(key.code),
            Mode::Help => {
                self.mode = Mode::Look;
                if key.code == KeyCode::Char('q') { Wanted::End } else { Wanted::Nothing }
            }
        }
    }

    fn look(&mut self, key: KeyCode) -> Wanted {
        let chosen = self.chosen(self.panel);
        let last = self.rows(self.panel).saturating_sub(1);
        match key {
            KeyCode::Char('q') => return Wanted::End,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Char('/') => {
                self.mode = Mode::Search;
                self.typed.clone_from(&self.search);
            }
            KeyCode::Esc if !self.search.is_empty() => {
                self.search.clear();
                return Wanted::Sessions(String::new());
            }
            KeyCode::Tab | KeyCode::Right => self.panel = self.panel.step(1),
            KeyCode::BackTab | KeyCode::Left => self.panel = self.panel.step(Panel::ALL.len() - 1),
            KeyCode::Up => self.choose(chosen.saturating_sub(1)),
            KeyCode::Down => self.choose((chosen + 1).min(last)),
            KeyCode::PageUp => self.choose(chosen.saturating_sub(PAGE_ROWS)),
            KeyCode::PageDown => self.choose((chosen + PAGE_ROWS).min(last)),
            KeyCode::Home => self.choose(0),
            KeyCode::End => self.choose(last),
            _ => {}
        }
        Wanted::Nothing
    }

    fn choose(&mut self, row: usize) {
        if let Some(chosen) = self.chosen.get_mut(self.panel as usize) {
            *chosen = row;
        }
    }

    fn edit(&mut self, key: KeyCode) -> Wanted {
        match key {
            KeyCode::Esc => self.mode = Mode::Look,
            KeyCode::Enter => {
                self.mode = Mode::Look;
                self.panel = Panel::Sessions;
                self.choose(0);
                self.search = std::mem::take(&mut self.typed).trim().to_owned();
                return Wanted::Sessions(self.search.clone());
            }
            KeyCode::Backspace => drop(self.typed.pop()),
            KeyCode::Char(c) if !c.is_control() && self.typed.chars().count() < SEARCH_CHARS_MAX => {
                self.typed.push(c);
            }
            _ => {}
        }
        Wanted::Nothing
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::net::SessionFound;

    fn news(sessions: usize, outages: usize) -> News {
        let mut news = News::new(json!({ "outages": outages })).unwrap_or_default();
        news.sessions = vec![SessionFound::default(); sessions];
        news
    }

    fn press(model: &mut Model, keys: &[KeyCode]) -> Wanted {
        keys.iter().map(|key| model.press((*key).into())).last().unwrap_or(Wanted::Nothing)
    }

    #[test]
    fn it_is_known_since_when_the_proxy_is_away_and_what_it_said_last() {
        let mut model = Model::new("here".to_owned());
        model.hear(Err("refused".to_owned()), 1_000);
        assert_eq!(model.away().map(|away| away.since_ms), Some(1_000), "from the first question on");
        model.hear(Ok(news(1, 0)), 2_000);
        assert_eq!(model.away(), None);
        model.hear(Err("refused".to_owned()), 3_000);
        model.hear(Err("reset".to_owned()), 4_000);
        assert_eq!(model.away().map(|away| (away.since_ms, &*away.why)), Some((3_000, "reset")));
        assert_eq!(model.news.as_ref().map(|news| news.sessions.len()), Some(1));
        model.hear(Ok(news(2, 0)), 5_000);
        model.hear(Ok(news(2, 0)), 6_000);
        assert_eq!(model.away.and_then(|away| away.until_ms), Some(5_000), "and when it came back");
    }

    #[test]
    fn the_history_is_bounded_and_one_a_second() {
        let mut model = Model::default();
        for second in 0..2_000_u64 {
            let outages = usize::try_from(second).unwrap_or_default();
            model.hear(Ok(news(0, outages)), second * 1_000);
            model.hear(Err("asked again at once".to_owned()), second * 1_000 + 100);
        }
        assert_eq!(model.history.len(), HISTORY_MAX);
        assert_eq!((model.history.front(), model.history.back()), (Some(&Some(1_400)), Some(&Some(1_999))));
        model.hear(Err("away".to_owned()), 3_000_000);
        assert_eq!(model.history.back(), Some(&None));
    }

    #[test]
    fn keys_move_within_what_there_is() {
        let mut model = Model::default();
        assert_eq!(press(&mut model, &[KeyCode::Down, KeyCode::End, KeyCode::PageDown]), Wanted::Nothing);
        assert_eq!(model.chosen(Panel::Sessions), 0, "nothing is there");
        model.hear(Ok(news(30, 0)), 0);
        press(&mut model, &[KeyCode::PageDown, KeyCode::Down, KeyCode::Up, KeyCode::Up]);
        assert_eq!(model.chosen(Panel::Sessions), 9);
        press(&mut model, &[KeyCode::End, KeyCode::Down]);
        assert_eq!(model.chosen(Panel::Sessions), 29);
        model.hear(Ok(news(3, 0)), 1_000);
        assert_eq!(model.chosen(Panel::Sessions), 2, "there are fewer");
        press(&mut model, &[KeyCode::Up]);
        assert_eq!(model.chosen(Panel::Sessions), 1, "and the next key goes from there");
        let panels = [KeyCode::Tab, KeyCode::Tab, KeyCode::BackTab].map(|key| {
            press(&mut model, &[key]);
            model.panel
        });
        assert_eq!(panels, [Panel::Nodes, Panel::Outages, Panel::Nodes]);
        press(&mut model, &[KeyCode::Down]);
        assert_eq!(model.chosen(Panel::Sessions), 1, "each panel has its own");
    }

    #[test]
    fn a_search_is_typed_taken_and_taken_back() {
        let mut model = Model::default();
        press(&mut model, &[KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Char('x'), KeyCode::Backspace]);
        assert_eq!((model.mode, &*model.typed), (Mode::Search, "q"), "a letter, not the end");
        assert_eq!(press(&mut model, &[KeyCode::Enter]), Wanted::Sessions("q".to_owned()));
        press(&mut model, &[KeyCode::Char('/'), KeyCode::Char('x'), KeyCode::Esc]);
        assert_eq!((model.mode, &*model.search), (Mode::Look, "q"));
        assert_eq!(press(&mut model, &[KeyCode::Esc]), Wanted::Sessions(String::new()));
        press(&mut model, &[KeyCode::Char('/')]);
        press(&mut model, &[KeyCode::Char('ü'); 500]);
        assert_eq!(model.typed.chars().count(), SEARCH_CHARS_MAX);
    }

    #[test]
    fn q_and_ctrl_c_end_it_from_everywhere_they_are_not_text() {
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for keys in [&[][..], &[KeyCode::Char('?')], &[KeyCode::Char('/')]] {
            let mut model = Model::default();
            press(&mut model, keys);
            assert_eq!(model.press(ctrl_c), Wanted::End, "{keys:?}");
        }
        assert_eq!(press(&mut Model::default(), &[KeyCode::Char('q')]), Wanted::End);
        assert_eq!(press(&mut Model::default(), &[KeyCode::Char('?'), KeyCode::Char('q')]), Wanted::End);
    }
}
